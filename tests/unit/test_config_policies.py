"""How an operator asks for null or text in place of a refused row."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.config.load import ConfigProblems
from connector.config.resolved import Field
from connector.config.schema import json_schema
from connector.model import Policies
from tests.unit.test_config import CLIENT, CONNECTOR, installation, loaded, only_stream


def with_field(written: str) -> str:
    return CLIENT.replace("local_id: customer_id", f"local_id: customer_id, birth_date: {written}")


def problem(folder: Path, client: str, connector: str = CONNECTOR) -> str:
    with pytest.raises(ConfigProblems) as caught:
        loaded(installation(folder, client, connector))
    (found,) = caught.value.problems
    return str(found)


@pytest.mark.parametrize("written", ["null", "'null'", '"null"', "~", "NULL", "Null"])
def test_null_may_be_written_with_quotes_or_without(tmp_path: Path, written: str) -> None:
    stream = only_stream(tmp_path, with_field(f"{{column: b, zero_dates: {written}}}") + f"    invalid: {written}\n")
    assert stream.fields["birth_date"] == Field("b", zero_dates="null")
    assert stream.policies("birth_date") == Policies("null", "null")


def test_null_in_the_defaults_is_the_word_too(tmp_path: Path) -> None:
    connector = CONNECTOR + "defaults: {zero_dates: null, invalid: ~}\n"
    assert only_stream(tmp_path, CLIENT, connector).policies("local_id") == Policies("null", "null")


def test_null_behind_an_anchor_is_the_word_too(tmp_path: Path) -> None:
    client = with_field("{<<: *odd, column: b}").replace("streams:", "defaults: &odd {zero_dates: null}\nstreams:")
    assert only_stream(tmp_path, client).fields["birth_date"] == Field("b", zero_dates="null")


@pytest.mark.parametrize("key", ["zero_dates", "invalid"])
def test_an_option_that_is_left_empty_is_no_null(tmp_path: Path, key: str) -> None:
    assert problem(tmp_path, CLIENT + f"    {key}:\n") == (
        f"clients/acme.yaml:11: streams.customers.{key}: has no value; give one or remove the line"
    )
    empty = with_field("{column: b, " + key + ": }")
    assert "fields.birth_date." + key + ": has no value" in problem(tmp_path, empty)


@pytest.mark.parametrize("line", ["null_watermarks: null", "tenant: null", "start: ~", "time_zone: NULL"])
def test_null_is_no_word_of_other_options(tmp_path: Path, line: str) -> None:
    assert "has no value; give one or remove the line" in problem(tmp_path, CLIENT + f"    {line}\n")


def test_the_innermost_policy_wins(tmp_path: Path) -> None:
    connector = CONNECTOR + "defaults: {zero_dates: text, invalid: text}\n"
    client = with_field("{sql: b || c, zero_dates: refuse}") + "defaults: {invalid: null}\n"
    stream = only_stream(tmp_path, client, connector)
    assert stream.policies("birth_date") == Policies("refuse", "null")
    assert stream.policies("local_id") == stream.policies("unmapped") == Policies("text", "null")


def test_every_row_is_refused_where_nothing_is_said(tmp_path: Path) -> None:
    assert only_stream(tmp_path).policies("local_id") == Policies("refuse", "refuse")


def test_a_field_may_be_written_long_without_a_policy(tmp_path: Path) -> None:
    fields = only_stream(tmp_path, with_field("{column: 7}")).fields
    assert fields["birth_date"] == Field("7")


@pytest.mark.parametrize(
    "written, told",
    [
        ("{zero_dates: null}", "10: streams.customers.fields.birth_date: needs a column, or an sql expression"),
        ("{column: a, sql: b}", "10: streams.customers.fields.birth_date.sql: stands beside column"),
        ("{column: 1.5}", "10: streams.customers.fields.birth_date.column: must be a text; quote it"),
        ("{colum: a}", 'birth_date.colum: unknown key; did you mean "column"?'),
        ("{column: a, invalid: nul}", "invalid: must be one of 'refuse', 'null' or 'text'; did you mean \"null\"?"),
        ("{column: a, invalid: false}", "invalid: must be one of 'refuse', 'null' or 'text'"),
        (
            "b, zip: {column: z, zero_dates: null}",
            "10: streams.customers.fields.zip.zero_dates: is for dates and timestamps only; customer has register",
        ),
        ("b, colour: {column: z, zero_dates: text}", "colour.zero_dates: is for dates and timestamps only"),
    ],
)
def test_a_policy_that_can_not_be_meant_is_told(tmp_path: Path, written: str, told: str) -> None:
    assert told in problem(tmp_path, with_field(written))


def test_an_editor_takes_null_with_quotes_and_without() -> None:
    for schema in json_schema().values():
        options = schema["$defs"]["StreamOptions"]["properties"]
        assert options["zero_dates"]["enum"] == options["invalid"]["enum"] == ["refuse", "null", "text", None]
