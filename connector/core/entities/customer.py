"""The customer: whom the platform talks to."""

from __future__ import annotations

import polars as pl

from connector.core import emails, phones
from connector.core.checks import NOT_AFTER_THIS_YEAR, not_before, one_of
from connector.core.entity import Context, Entity, EntityField, Exact, FieldType, Normaliser

# ISO 5218 numbers 0 unknown, 1 male, 2 female, 9 not applicable; the words are what sources were seen to hold.
_SEXES: dict[str, str | None] = {
    **dict.fromkeys(("m", "male", "1", "м", "муж", "мужской", "чол", "чоловіча"), "M"),
    **dict.fromkeys(("f", "female", "2", "ж", "жен", "женский", "жін", "жіноча"), "F"),
    **dict.fromkeys(("0", "9", "u", "unknown", "n", "x", "other", "-", "?"), None),
}


def sex(_context: Context) -> Normaliser:
    """Make it M or F, null for a word that says unknown, and leave any other word as it is, for the check to refuse."""

    def plain(value: pl.Expr) -> pl.Expr:
        return pl.when((value == "M") | (value == "F")).then(value)

    def exact(texts: pl.Series) -> Exact:
        words = texts.str.to_lowercase()
        values = words.replace_strict(_SEXES, default=words, return_dtype=pl.String)
        return Exact(values, pl.repeat(None, texts.len(), dtype=pl.String, eager=True))

    return Normaliser(plain, exact)


CUSTOMER = Entity(
    name="customer",
    load_order=3,
    rules=2,  # raise it with the version of phonenumbers, too: its metadata decides what is a number
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
        EntityField("sex", normalise=sex, checks=(one_of("not_a_sex", "M", "F"),)),
        EntityField("email", normalise=emails.normaliser),
        EntityField("phone", normalise=phones.normaliser),
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
