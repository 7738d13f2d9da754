"""Numbers that may still come: a stream by id whose ids are followed one by one.

An id is taken before its row is committed, so a lower one may become visible after a higher one. What a pull did not
find between the ids that it read is a *hole*. Holes are read again on every pull until they have stayed empty for the
look-back; rolled back and deleted ids never fill, so after that a hole is given up. Holes are kept as ranges, at most
LIMIT of them: beyond that, the two that lie nearest to each other become one, which reads more and loses nothing.
"""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from connector.model import Hole

LIMIT = 200
"""Two bound values each; one engine takes no more than 2,100 in a statement."""


def alive(holes: tuple[Hole, ...], read_us: int, look_back_us: int) -> tuple[Hole, ...]:
    """Return the holes to read again: those that were not found empty `look_back_us` after they were first seen."""
    return tuple(hole for hole in holes if read_us - hole.seen_us < look_back_us)


def after(holes: tuple[Hole, ...], edge: int, ids: pl.Series, seen_us: int) -> tuple[Hole, ...]:
    """Return the holes after a batch of rising ids: what it filled is out, what it left empty above `edge` is in."""
    filled = ids.filter(ids <= edge).unique(maintain_order=True).to_list()
    above = pl.Series([edge], dtype=pl.Int128).append(ids.filter(ids > edge))
    gaps = pl.DataFrame({"id": above, "step": above.diff()}).filter(pl.col("step") > 1)
    new = [Hole(id_ - step + 1, id_ - 1, seen_us) for id_, step in gaps.iter_rows()]
    return _fewer([*_cut(holes, filled), *new])


def closed(holes: tuple[Hole, ...], edge: int, top: int, seen_us: int) -> tuple[Hole, ...]:
    """Return the holes at the end of a pull, whose newest id is `top`."""
    return holes if edge >= top else _fewer([*holes, Hole(edge + 1, top, seen_us)])


def _cut(holes: tuple[Hole, ...], filled: list[int]) -> list[Hole]:
    left: list[Hole] = []
    at = 0
    for hole in holes:
        first = hole.first
        while at < len(filled) and filled[at] <= hole.last:
            if filled[at] > first:
                left.append(Hole(first, filled[at] - 1, hole.seen_us))
            first = max(first, filled[at] + 1)
            at += 1
        if first <= hole.last:
            left.append(Hole(first, hole.last, hole.seen_us))
    return left


def _fewer(holes: list[Hole]) -> tuple[Hole, ...]:
    """Join the nearest neighbours until the limit holds; a joined hole is as young as its youngest part."""
    if len(holes) <= LIMIT:
        return tuple(holes)
    distances = [(right.first - left.last, index) for index, (left, right) in enumerate(pairwise(holes), 1)]
    joined = {index for _, index in sorted(distances)[: len(holes) - LIMIT]}
    kept: list[Hole] = []
    for index, hole in enumerate(holes):
        below = kept.pop() if index in joined else hole
        kept.append(Hole(below.first, hole.last, max(below.seen_us, hole.seen_us)))
    return tuple(kept)
