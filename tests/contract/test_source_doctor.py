"""What `check` says of a database's clock and of the zone that naive stamps are written in, and when it is silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.app import entity_of
from connector.config.resolved import Tenant
from connector.errors import SourceTimeout
from connector.runs.check import Finding, Grade, check_stream
from connector.source.reader import Reader
from tests.contract.engines import needs
from tests.contract.pulling import Pulling, ago, stamp

TABLE = "CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp})"
REMEDY = "Set source.time_zone (or the stream's) to the zone that the client's application writes in"


def checked(client: Pulling) -> list[Finding]:
    found = check_stream(client.stream, entity_of(client.stream), client.session)
    assert not [finding for finding in found if finding.grade is Grade.ERROR], found
    return found


def spoken(client: Pulling) -> list[str]:
    """Return what `check` has to say of clocks and zones."""
    found = checked(client)
    return [each.what for each in found if "clock" in each.what and not each.what.startswith("level")]


def zones(client: Pulling, hours: float, every_s: float = 60) -> None:
    """Write into the table as an application does whose clock shows so many hours more than UTC."""
    client.insert(*((number, "v", ago(number * every_s - hours * 3600 + 2)) for number in range(40)))


@pytest.mark.parametrize("hours, far", [(3, "3"), (5.5, "5:30"), (5.75, "5:45")])
def test_check_names_the_zone_of_stamps_ahead_of_the_clock(client: Pulling, hours: float, far: str) -> None:
    client.execute(TABLE)
    zones(client, hours)
    found = [finding for finding in checked(client) if "looks like" in finding.what]
    what = f"updated_at looks like UTC+{far}: its newest values lie {far} h ahead of the database's clock"
    assert [(each.grade, each.what, each.remedy) for each in found] == [(Grade.WARNING, what, REMEDY)]


def test_check_is_not_sure_of_a_zone_behind_the_clock(client: Pulling) -> None:
    client.execute(TABLE)
    zones(client, -3.5)
    what = "updated_at looks like UTC-3:30: its newest values lie 3:30 h behind the database's clock"
    assert spoken(client) == [f"{what}, or nothing was written since"]


def test_check_says_nothing_of_a_clock_and_a_zone_that_are_right(client: Pulling) -> None:
    client.execute(TABLE)
    assert spoken(client) == []
    zones(client, 0)
    assert spoken(client) == []
    client.insert((100, "plan", "2999-01-01 00:00:00"), (101, "plan", ago(-7200)), (102, "none", None))
    assert spoken(client) == []


def test_check_follows_the_remedy_that_it_gives(client: Pulling) -> None:
    client.execute(TABLE)
    kyiv = ZoneInfo("Europe/Kyiv")
    now = datetime.now(UTC)
    walls = [(now - timedelta(seconds=2 + 60 * number)).astimezone(kyiv) for number in range(40)]
    client.insert(*((number, "v", stamp(wall.replace(tzinfo=None))) for number, wall in enumerate(walls)))
    assert len(spoken(client)) == 1
    client.configure(time_zone="Europe/Kyiv")
    assert spoken(client) == []


def test_check_looks_at_this_client_s_rows_only(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {stamp}, owner {name})")
    client.configure(tenant=Tenant("owner", "acme"))
    client.insert(*((number, "v", ago(number - 3 * 3600), "globex") for number in range(1, 20)))
    client.insert(*((number, "v", ago(number), "acme") for number in range(20, 40)))
    assert spoken(client) == []


@pytest.mark.parametrize("minutes, side", [(7, "ahead of"), (-7, "behind")])
def test_check_compares_the_database_s_clock_with_this_machine_s(client: Pulling, minutes: int, side: str) -> None:
    client.execute(TABLE)
    client.clock(datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes, seconds=0.5))
    found = [finding for finding in checked(client) if "this machine" in finding.what]
    assert [(each.grade, each.what) for each in found] == [
        (Grade.WARNING, f"the database's clock is 7 min {side} this machine's")
    ]


@needs("instant")
def test_stamps_that_are_instants_have_no_zone_to_be_wrong(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {instant})")
    zones(client, 3)
    assert spoken(client) == []


def test_dates_and_numbers_have_no_zone_to_be_wrong(client: Pulling) -> None:
    client.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v {text}, updated_at {date})")
    client.insert(*((number, "v", ago(-86_400)[:10]) for number in range(5)))
    assert spoken(client) == []
    client.configure(by="id", watermark_column="id")
    assert spoken(client) == []


@needs("infinity")
def test_infinity_does_not_hide_a_zone(client: Pulling) -> None:
    client.execute(TABLE)
    zones(client, 3)
    client.insert((100, "v", "infinity"), (101, "v", "-infinity"), (102, "v", "15000-01-01 00:00:00"))
    assert len(spoken(client)) == 1


def test_check_asks_at_most_two_statements_more_for_it(client: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    client.execute(TABLE)
    zones(client, 0)
    asked: list[int] = []
    newest_stamps = Reader.newest_stamps

    def counted(reader: Reader, rows: int) -> tuple[int, list[str]]:
        asked.append(rows)
        return newest_stamps(reader, rows)

    monkeypatch.setattr(Reader, "newest_stamps", counted)
    checked(client)
    assert asked == [100]


def test_newest_values_that_can_t_be_read_are_a_warning_and_hide_no_other_finding(
    client: Pulling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(reader: Reader, rows: int) -> tuple[int, list[str]]:
        raise SourceTimeout("the database did not answer", remedy="Wait")

    client.execute(TABLE)
    before = checked(client)
    monkeypatch.setattr(Reader, "newest_stamps", slow)
    found = checked(client)
    assert found[:-1] == before
    what = "the newest values of updated_at could not be read: the database did not answer"
    assert (found[-1].grade, found[-1].what, found[-1].remedy) == (Grade.WARNING, what, "Wait")
