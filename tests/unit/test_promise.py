"""Times as operators read them."""

from __future__ import annotations

import pytest

from connector.runs.promise import span


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.000_001, "0.001 ms"),
        (0.04, "40 ms"),
        (1.5, "1.5 s"),
        (120, "2 min"),
        (421.5, "422 s"),
        (720, "12 min"),
        (3_600, "1 h"),
        (5_400, "90 min"),
        (86_400, "24 h"),
        (86_400 * 9, "9 d"),
    ],
)
def test_times_are_written_in_the_greatest_unit_that_leaves_them_whole(seconds: float, words: str) -> None:
    assert span(seconds) == words
