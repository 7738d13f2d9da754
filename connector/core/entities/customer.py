"""The customer: whom the platform talks to."""

from __future__ import annotations

import polars as pl

from connector.core.checks import NOT_AFTER_THIS_YEAR, matches, not_before
from connector.core.entity import Entity, EntityField, FieldType

# ISO 5218 numbers 0 unknown, 1 male, 2 female, 9 not applicable; the words are what sources were seen to hold.
_SEXES: dict[str, str | None] = {
    **dict.fromkeys(("m", "male", "1", "м", "муж", "мужской", "чол", "чоловіча"), "M"),
    **dict.fromkeys(("f", "female", "2", "ж", "жен", "женский", "жін", "жіноча"), "F"),
    **dict.fromkeys(("0", "9", "u", "unknown", "n", "x", "other", "-", "?"), None),
}


def sex(value: pl.Expr) -> pl.Expr:
    """Return M or F, null for a word that says unknown, and any other word as it is, for the check to refuse."""
    word = value.str.to_lowercase()
    return word.replace_strict(_SEXES, default=word, return_dtype=pl.String)


def email(value: pl.Expr) -> pl.Expr:
    """Return the address in lower case."""
    return value.str.to_lowercase()


def phone(value: pl.Expr) -> pl.Expr:
    """Return the digits, with a plus if the text begins with one."""
    plus = pl.when(value.str.starts_with("+")).then(pl.lit("+")).otherwise(pl.lit(""))
    return plus + value.str.replace_all("[^0-9]", "")


CUSTOMER = Entity(
    name="customer",
    load_order=3,
    rules=1,
    identity=("local_id",),
    fields=(
        EntityField("local_id", required=True),
        EntityField("full_name"),
        EntityField("first_name"),
        EntityField("middle_name"),
        EntityField("last_name"),
        EntityField(
            "register_date", FieldType.TIMESTAMP, required=True, checks=(not_before(2010), NOT_AFTER_THIS_YEAR)
        ),
        EntityField("sex", normalise=sex, checks=(matches("not_a_sex", "^[MF]$"),)),
        EntityField("email", normalise=email, checks=(matches("not_an_email", r"^[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+$"),)),
        # E.164 has at most 15 digits. Which region a number without a plus belongs to is not known here.
        EntityField("phone", normalise=phone, checks=(matches("not_a_phone", r"^\+?[0-9]{5,15}$"),)),
        EntityField("push_id"),
        EntityField("birth_date", FieldType.DATE),
        EntityField("country"),
        EntityField("city"),
        EntityField("zip"),
        EntityField("area"),
        EntityField("email_consent", FieldType.BOOLEAN),
        EntityField("sms_consent", FieldType.BOOLEAN),
    ),
)
