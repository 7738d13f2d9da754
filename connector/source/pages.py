"""The statements of a pull, as values: what is selected, from where on, how far, in which order."""

from __future__ import annotations

from dataclasses import dataclass

from connector.model import Bound, OpenPull, Position
from connector.source import keyset
from connector.source.dialect import Capabilities
from connector.source.layout import WATERMARK, Layout
from connector.source.select import Any, Compare, IsNull, Output, Predicate, Select, Slot, Written


@dataclass(frozen=True, slots=True)
class Pages:
    """A stream's statements. `size` is the most rows of a page."""

    layout: Layout
    capabilities: Capabilities
    size: int

    def page(self, at: OpenPull, size: int | None, *, ceiling: str | None = None) -> Select:
        """Return the next page in the order of the watermark, without row versions from `ceiling` on."""
        found, watermark = self.layout, self.layout.watermark
        begin: tuple[Predicate, ...] = keyset.within(watermark, at.lower, None)
        if at.holes and at.lower is not None:
            begin = (keyset.in_holes(watermark, at.lower.value, at.holes),)
        if at.position is not None:
            begin = (keyset.after(watermark, found.key, at.position), *(begin if at.holes else ()))
        where = (*found.where, *begin, *keyset.up_to(watermark, at.upper), *_below(ceiling))
        return Select(found.relation, found.outputs, where, found.order, limit=size, slots=self._slots(at.lower))

    def changed(
        self, at: OpenPull, since: str, position: Position | None, *, nulls: bool, ceiling: str | None
    ) -> Select:
        """Return all rows written since a mark, above the floor and behind a position, in the order of the key."""
        found, watermark = self.layout, self.layout.watermark
        where = (*found.where, Written(since), *_below(ceiling))
        if at.lower is not None:
            above: Predicate = Compare(watermark, ">=", at.lower.value)
            where = (*where, Any((above, IsNull(watermark))) if nulls else above)
        elif found.watermark_nullable and not nulls:
            where = (*where, IsNull(watermark, negated=True))
        where = (*where, *keyset.after_key(found.key, position))
        return Select(found.relation, found.outputs, where, found.key, slots=self._slots(at.lower))

    def nulls(self, at: OpenPull, position: Position | None) -> Select:
        """Return the next page of rows without a watermark, in the order of the key."""
        found = self.layout
        where = (*found.where, IsNull(found.watermark), *keyset.after_key(found.key, position))
        return Select(found.relation, found.outputs, where, found.key, limit=self.size, slots=self._slots(at.lower))

    def group(self, watermark: str | None, lower: Bound | None, limit: int) -> Select:
        """Return the rows of one watermark value, or without one, in no order."""
        found = self.layout
        same: Predicate = IsNull(found.watermark) if watermark is None else Compare(found.watermark, "=", watermark)
        where = (*found.where, same)
        return Select(found.relation, found.outputs, where, limit=limit, slots=self._slots(lower))

    def sample(self, limit: int) -> Select:
        found = self.layout
        return Select(found.relation, found.outputs, found.where, limit=limit, slots=self._slots(None))

    def greatest(self, lower: Bound | None, at_most: str | None, limit: int) -> Select:
        """Return the greatest watermarks, greatest first; `lower` only binds a query's slots."""
        found, watermark = self.layout, self.layout.watermark
        bound: Predicate = IsNull(watermark, negated=True)
        if at_most is not None:
            bound = Compare(watermark, "<=", at_most)
        outputs, where = (Output(WATERMARK, watermark.name),), (*found.where, bound)
        slots = self._slots(lower)
        return Select(found.relation, outputs, where, (watermark,), descending=True, limit=limit, slots=slots)

    def any_null(self) -> Select:
        """Return one row without a watermark, if there is one."""
        found = self.layout
        outputs, where = (Output(WATERMARK, found.watermark.name),), (*found.where, IsNull(found.watermark))
        return Select(found.relation, outputs, where, limit=1, slots=self._slots(None))

    def _slots(self, lower: Bound | None) -> dict[Slot, str | int]:
        return self.layout.slots(lower, self.capabilities)


def _below(ceiling: str | None) -> tuple[Predicate, ...]:
    return () if ceiling is None else (Written(ceiling, before=True),)
