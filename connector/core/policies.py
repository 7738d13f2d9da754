"""What becomes of a value that its field can't hold.

| rule | whose policy |
|---|---|
| `zero_date` | `zero_dates` |
| `not_utf8` | `invalid`; `text` refuses, since there is no text |
| every other rule of `core/convert.py` | `invalid` |

`refuse` refuses the row. `null` makes the field null. `text` does that, too, and keeps the source's text as the custom
attribute of the field's name, which is null in all other records of the stream. A required field that becomes null is
refused as `required`, and an identity is always refused: without it, a record would pass for another one.

What an entity refuses by itself, by a normaliser or a check, has no policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from connector.core.entity import FieldType
from connector.model import Policies

ZERO_DATE = "zero_date"
NOT_UTF8 = "not_utf8"

_RULES: dict[FieldType, tuple[str, ...]] = {
    FieldType.TEXT: (),
    FieldType.TIMESTAMP: (ZERO_DATE, "not_a_timestamp", "finer_than_microseconds"),
    FieldType.DATE: (ZERO_DATE, "not_a_date"),
    FieldType.DECIMAL: ("not_a_decimal",),
    FieldType.INTEGER: ("not_an_integer",),
    FieldType.BOOLEAN: ("not_a_boolean",),
    FieldType.JSON: ("not_json",),
}
"""What a conversion to each type may refuse a value for, besides `not_utf8`."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """The rules that one field may break: its value is null then, and for `texts` the source's text is kept."""

    rules: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def waived(self, rules: pl.Series) -> pl.Series:
        """Return the rules that are left: null where this waives one."""
        return rules.set(_among(rules, self.rules), None)

    def kept(self, rules: pl.Series) -> pl.Series:
        """Say for which broken rules the source's text is kept."""
        return _among(rules, self.texts)


NONE_WAIVED = Waiver()


def waiver(policies: Policies, type_: FieldType) -> Waiver:
    """Return what a field of a type waives; a custom attribute is a text here."""
    asked = {rule: policies.zero_dates if rule == ZERO_DATE else policies.invalid for rule in _RULES[type_]}
    waived = [rule for rule, policy in asked.items() if policy != "refuse"]
    if policies.invalid == "null":
        waived.append(NOT_UTF8)
    return Waiver(tuple(waived), tuple(rule for rule, policy in asked.items() if policy == "text"))


def _among(rules: pl.Series, chosen: tuple[str, ...]) -> pl.Series:
    return rules.is_in(chosen).fill_null(value=False)
