"""What the newest values of a column say of its time zone: pure rules over what `check` has read.

A naive stamp means the zone that is configured. Where the client's application writes in another one, every stamp is
off by the difference D of the two, so the newest lie at D from the database's clock, less the time since they were
written:

    ahead     nothing was written in the future, so several values that end just below a whole D are proof. A few
              further ones above them are dates that somebody entered; where there are many, all of them may be plans.
    behind    a stream on which nothing was written for that long looks the same, so only a newest value within a minute
              of D counts, and it is no proof.

D leads to an offset that some zone on earth has. Stamps that carry an offset of their own say nothing, nor do dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from connector.model import Kind
from connector.source.window import DAY_US, EPOCH, HOUR_US, SECOND_US, Window, read_stamp

MINUTE_US = 60 * SECOND_US
LEAST_US, MOST_US = 30 * MINUTE_US, 14 * HOUR_US
NEAR_US = MINUTE_US
"""How far two clocks may be apart, and how old a newest value may be that is still taken for a present one."""
RECENT_US = 15 * MINUTE_US
"""How old the newest value ahead of the clock may be: offsets lie no closer to each other."""
SEVERAL, OUTLIERS = 3, 10
LOOKED_AT = 100
_ODD_MIN = (-570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765, 825)
OFFSETS_US = tuple(sorted(each * MINUTE_US for each in (*range(-720, 841, 60), *_ODD_MIN)))


@dataclass(frozen=True, slots=True)
class OtherZone:
    """The offset from UTC that the values seem to be written at, and how far that puts them ahead of the clock."""

    offset_us: int
    ahead_us: int

    @property
    def proven(self) -> bool:
        return self.ahead_us > 0

    @property
    def name(self) -> str:
        sign = "" if not self.offset_us else "+" if self.offset_us > 0 else "-"
        return f"UTC{sign}{hours(self.offset_us) if self.offset_us else ''}"


def hours(time_us: int) -> str:
    """Write whole minutes as hours, without a sign: `3`, `5:30`."""
    whole, minutes = divmod(abs(time_us) // MINUTE_US, 60)
    return f"{whole}:{minutes:02d}" if minutes else str(whole)


def apart_us(database_us: int, before_us: int, after_us: int) -> int:
    """Return how far the database's clock is ahead of ours, which was read before and after it; 0 within a minute."""
    ahead_us = database_us - min(max(database_us, before_us), after_us)
    return ahead_us if abs(ahead_us) > NEAR_US else 0


def other_zone(texts: Sequence[str], clock_us: int, window: Window) -> OtherZone | None:
    """Return the zone that the newest values of a naive column seem to be written in; None if it is the right one."""
    if window.column.kind is not Kind.TIMESTAMP:
        return None
    read = [_ahead(text, clock_us, window) for text in texts]
    known = sorted((ahead_us for ahead_us in read if ahead_us is not None), reverse=True)
    for outliers, newest_us in enumerate(dict.fromkeys(known)):
        if outliers > OUTLIERS:
            return None
        found = _nearest(newest_us, clock_us, window)
        if found is not None and _witnesses(known, newest_us, found) >= max(SEVERAL, 2 * outliers):
            return found
        if newest_us <= NEAR_US:  # it has been: nothing above it was more than an outlier
            return None
    return None


def _ahead(text: str, clock_us: int, window: Window) -> int | None:
    """Return how far a naive stamp lies ahead of the clock; an hour that comes twice is the last that has been."""
    stamp = read_stamp(text, window)
    if stamp is None or stamp.suffix or stamp.unit_us >= DAY_US:
        return None
    ahead_us = stamp.instant_us - clock_us
    return ahead_us if ahead_us <= NEAR_US else ahead_us - stamp.ambiguous_us


def _nearest(ahead_us: int, clock_us: int, window: Window) -> OtherZone | None:
    """Return the offset on earth that is nearest to what a newest value shows, if it is near enough."""
    if not LEAST_US - RECENT_US <= abs(ahead_us) <= MOST_US + NEAR_US:
        return None
    written = (EPOCH + timedelta(microseconds=clock_us + ahead_us)).astimezone(window.zone)
    configured_us = (written.utcoffset() or timedelta()) // timedelta(microseconds=1)
    offset_us = min(OFFSETS_US, key=lambda each: abs(each - configured_us - ahead_us))
    shift_us = offset_us - configured_us
    oldest_us = RECENT_US if ahead_us > 0 else NEAR_US
    if LEAST_US <= abs(shift_us) <= MOST_US and shift_us - oldest_us <= ahead_us <= shift_us + NEAR_US:
        return OtherZone(offset_us, shift_us)
    return None


def _witnesses(known: Sequence[int], newest_us: int, found: OtherZone) -> int:
    """Count the values of the last hour by the other zone's clock, equal ones once unless they are of this minute."""
    least_us = found.ahead_us - HOUR_US
    if found.proven:  # none that the configured zone could give as well
        least_us = max(least_us, found.ahead_us // 2)
    witnesses = [each for each in known if least_us <= each <= newest_us]
    present = abs(newest_us - found.ahead_us) <= NEAR_US
    return len(witnesses) if present else len(set(witnesses))
