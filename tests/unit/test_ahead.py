"""Reading ahead: one batch, in order, on a thread that ends with its reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import polars as pl
import pytest

from connector.errors import SourceUnavailable
from connector.model import Batch
from connector.runs import ahead
from connector.runs.ahead import Ahead
from connector.runs.timing import Stages

WAIT_S = 30.0


class Source:
    """Gives `count` batches; the one at `stuck` waits until the connection is broken, the one at `lost` fails."""

    def __init__(self, count: int, *, stuck: int | None = None, lost: int | None = None) -> None:
        self._count, self._stuck, self._lost = count, stuck, lost
        self.broken = threading.Event()
        self.asked: list[int] = []
        self.threads: set[str] = set()
        self.asked_for = [threading.Event() for _ in range(count)]

    def batches(self) -> Iterator[Batch]:
        for number in range(self._count):
            self.asked.append(number)
            self.threads.add(threading.current_thread().name)
            self.asked_for[number].set()
            if number == self._stuck:
                assert self.broken.wait(WAIT_S)
                raise SourceUnavailable("broken")
            if number == self._lost:
                raise SourceUnavailable("lost")
            yield Batch(pl.DataFrame({"n": [number]}), {}, None, last=number == self._count - 1)

    def ahead(self) -> Ahead:
        return Ahead(self.batches(), self.broken.set, Stages())


def test_batches_come_in_order_up_to_the_last() -> None:
    source = Source(5)
    with source.ahead() as batches:
        assert [batch.rows["n"][0] for batch in batches] == [0, 1, 2, 3, 4]
    assert source.asked == [0, 1, 2, 3, 4]
    assert not source.broken.is_set()


def test_one_batch_is_read_ahead_and_no_more() -> None:
    source = Source(4)
    with source.ahead() as batches:
        each = iter(batches)
        for number in range(3):
            next(each)
            assert source.asked_for[number + 1].wait(WAIT_S)
            assert not source.asked_for[-1].is_set() or number == 2
            assert source.asked == list(range(number + 2))


def test_a_single_batch_needs_no_thread() -> None:
    source = Source(1)
    with source.ahead() as batches:
        assert len(list(batches)) == 1
    assert source.threads == {threading.main_thread().name}


def test_what_fails_ahead_is_raised_where_its_batch_is_taken() -> None:
    source = Source(3, lost=2)
    with source.ahead() as batches:
        each = iter(batches)
        assert [next(each).rows["n"][0], next(each).rows["n"][0]] == [0, 1]
        with pytest.raises(SourceUnavailable, match="lost"):
            next(each)
    assert not source.broken.is_set()


def test_leaving_early_waits_for_the_batch_that_is_on_its_way() -> None:
    source = Source(3)
    with source.ahead() as batches:
        for _ in batches:
            break
    assert not source.broken.is_set()
    assert [thread for thread in threading.enumerate() if thread.name == "read-ahead"] == []


def test_leaving_early_breaks_a_connection_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PATIENCE_S", 0.01)
    source = Source(3, stuck=1)
    with source.ahead() as batches:
        for _ in batches:
            assert source.asked_for[1].wait(WAIT_S)
            break
    assert source.broken.is_set()
    assert [thread for thread in threading.enumerate() if thread.name == "read-ahead"] == []


def test_an_error_while_a_batch_is_ingested_ends_the_thread_too() -> None:
    def ingest(batches: Ahead) -> None:
        with batches as each:
            for _ in each:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ingest(Source(3).ahead())
    assert [thread for thread in threading.enumerate() if thread.name == "read-ahead"] == []
