"""Phones: E.164 where the numbering plans leave no doubt, else the digits as they are written.

| written | in region UA | without a region |
|---|---|---|
| +38 (050) 123-45-67 | +380501234567 | +380501234567 |
| 00380501234567 | +380501234567 | +380501234567 |
| 050 123 45 67 | +380501234567 | 0501234567 |
| 380501234567 | +380501234567 | 380501234567 |
| 123-45-67 | 1234567 | 1234567 |
| +999 123 456 | +999123456 | +999123456 |
| 4711 | refused | refused |

`phone_of` is the rule, for one text. `normaliser` comes to the same for a column: `numbering` decides nearly all texts,
and the library is only asked about what is left, such as extensions, letters, and digits of other scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
import polars as pl
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from connector.core import numbering
from connector.core.entity import Context, Exact, Normaliser, unsure

RULE = "not_a_phone"

_ZEROS = re.compile(r"[^0-9+]*0[^0-9+]*0")
_FEWEST_DIGITS = 5  # shorter ones are services' or extensions

# What may stand between digits without meaning anything. Not x ~ # , ; which may introduce an extension.
_BETWEEN = r" ().\-\x{2010}-\x{2015}\x{a0}/"
_USUAL = pl.col("text").str.contains(rf"^[{_BETWEEN}]*\+?[0-9{_BETWEEN}]+$")
_USUAL_DIGITS = pl.when(_USUAL).then(pl.col("text").str.replace_all(f"[{_BETWEEN}]", "")).alias("digits")

_COUNT = pl.col("digits").str.len_bytes() - pl.col("digits").str.starts_with("+").cast(pl.UInt32)
_READ = pl.coalesce("number", pl.when(_COUNT.is_between(_FEWEST_DIGITS, numbering.MOST_DIGITS)).then("digits"))


def phone_of(text: str, region: str | None) -> str | None:
    """Return the phone that a text means in a region, or None where it is refused.

    A text that no numbering plan knows keeps its digits: a customer must not be lost over a phone, and the metadata
    may be older than the number. Only what can't be a phone anywhere is refused.
    """
    text = _in_ascii(text)
    digits = _digits(text)
    for form in dict.fromkeys((text, digits)):
        for reading, where in _readings(form, region):
            number = _number(reading, where)
            if number is not None:
                return number
    return digits if _FEWEST_DIGITS <= len(digits.removeprefix("+")) <= numbering.MOST_DIGITS else None


def _readings(text: str, region: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield what the library is asked about, and in which region: the text as the region dials, and 00 as a plus.

    00 before the region's own calling code is always a plus: 0057 321… in Colombia is a Colombian, although 005 dials
    abroad there and 7 would be Russia.
    """
    zeros, own = _ZEROS.match(text), numbering.plan_at(region)
    if zeros is None:
        yield text, region
        return
    behind = text[zeros.end() :]
    at_home = own is not None and _digits(behind).startswith(own.code)
    yield from ((f"+{behind}", None), (text, region)) if at_home else ((text, region), (f"+{behind}", None))


def _number(text: str, region: str | None) -> str | None:
    """Return the number in E.164, if the library finds one that has its plan's length and general shape.

    Not `is_possible_number`: that asks for the length only, and for a national number with a missing digit it finds a
    possible one of that length (+380050123456), or one that lacks the area code. Not `is_valid_number`: that asks
    whether the number's range is in use, so that numbers of an operator's new range would be written differently
    from all others until the library is newer. The general shape knows first digits and lengths, which rarely change.
    """
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    plan = numbering.plan_of(number.country_code or 0)
    if not re.fullmatch(plan.shape, phonenumbers.national_significant_number(number)):
        return None
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return e164 if len(e164) <= 1 + numbering.MOST_DIGITS else None


def _digits(text: str) -> str:
    """Return the digits, behind a plus if one stands before them."""
    kept = re.sub(r"[^0-9+]", "", text)
    return ("+" if kept.startswith("+") else "") + kept.replace("+", "")


def _in_ascii(text: str) -> str:
    if text.isascii():
        return text
    return re.sub(r"\d", lambda digit: str(int(digit[0])), text).replace("\N{FULLWIDTH PLUS SIGN}", "+")


def normaliser(context: Context) -> Normaliser:
    """Return `phone_of` for the stream's region, for columns."""
    region = context.region

    def plain(value: pl.Expr) -> pl.Expr:
        return numbering.as_it_stands(value, region)

    def exact(texts: pl.Series) -> Exact:
        phones = _phones(texts, region)
        return Exact(phones, pl.select(pl.when(phones.is_null()).then(pl.lit(RULE))).to_series())

    return Normaliser(plain, exact)


def _phones(texts: pl.Series, region: str | None) -> pl.Series:
    """Return each text's phone, null where it is refused: each step looks at what the one before left."""
    digits = texts.to_frame("text").select(_USUAL_DIGITS).to_series()
    phones = pl.repeat(None, texts.len(), dtype=pl.String, eager=True)
    if (digits != texts).any():  # otherwise the plain expression has seen them
        phones = digits.to_frame().select(numbering.as_it_stands(pl.col("digits"), region)).to_series()
    left = unsure(digits, phones)
    phones = phones.scatter(left, numbering.national_numbers(digits.gather(left), region))
    left, odd = unsure(digits, phones), digits.is_null().arg_true()
    if not left.is_empty():
        read = numbering.numbers(digits.gather(left), region)
        phones = phones.scatter(left, read.select(_READ).to_series())
        odd = odd.append(left.filter(~read["sure"]))
    if odd.is_empty():
        return phones
    asked = {text: phone_of(text, region) for text in texts.gather(odd).unique()}
    return phones.scatter(odd, pl.Series([asked[text] for text in texts.gather(odd)], dtype=pl.String))
