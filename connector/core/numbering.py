"""The world's numbering plans, as patterns that run over a whole column.

`phones.phone_of` says what a phone becomes, by asking the library `phonenumbers` about one text. Here the same answer
is worked out for many at once. What the library does to a text of digits, perhaps behind a plus:

1. behind a plus, or the region's international prefix (`00`, `011`), stands a country calling code;
2. any other number is national; or, if only that makes it one, it begins with the region's calling code;
3. a national prefix (the 0 of 050 123 45 67) goes, unless only the number with it fits the plan;
4. it is a number if what is left has the plan's shape and one of its lengths.

`as_it_stands` and `national_numbers` know the commonest forms, `numbers` nearly all. Rare, and marked as not sure, are
a prefix that is rewritten instead of removed (Argentina's 15, Brazil's carriers), a plus before an international
prefix, 00 where the international prefix is another one, and a foreign number whose prefix must stay.

Every pattern is made of the library's metadata, so that another version of it changes both answers alike. Of several
alternatives, polars' patterns take the first that matches, as Python's do; the metadata counts on it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import polars as pl
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS, PhoneMetadata

MOST_DIGITS = 15
"""E.164 has no longer number; some plans do."""

_NOTHING = r"[^\s\S]"
_DIGITS, _WHOLE, _BARE = pl.col("digits"), pl.col("whole"), pl.col("bare")


@dataclass(frozen=True, slots=True)
class NumberingPlan:
    """One numbering plan. Patterns are groups that capture nothing and mean ASCII digits.

    `shape` is what all national numbers look like, whether or not their range is in use. `prefix` is the national one,
    which may be a pattern that matches nothing at all and `rewrites` what it matches; `abroad` the international one.
    """

    code: str
    shape: str
    lengths: tuple[int, ...]
    prefix: str
    rewrites: bool
    abroad: str

    @property
    def longer(self) -> str:
        """Match more digits than any number has."""
        return f"[0-9]{{{self.lengths[-1] + 1},}}"

    @property
    def usable(self) -> list[int]:
        """Return the lengths of national numbers that E.164 has room for."""
        return [length for length in self.lengths if len(self.code) + length <= MOST_DIGITS]


@cache
def plan_at(region: str | None) -> NumberingPlan | None:
    """Return a region's plan; without a region, or for one that the library doesn't know, None."""
    if region not in SUPPORTED_REGIONS:
        return None
    return _plan(PhoneMetadata.metadata_for_region(region))


@cache
def plan_of(code: int) -> NumberingPlan:
    """Return a calling code's plan; where countries share one, the main country's covers them all."""
    main = COUNTRY_CODE_TO_REGION_CODE[code][0]
    return _plan(PhoneMetadata.metadata_for_region_or_calling_code(code, main))


def as_it_stands(digits: pl.Expr, region: str | None) -> pl.Expr:
    """Return a text of digits that needs no change, whether it is a number or not; null for what it isn't sure of.

    That is a text behind a plus, without a national prefix; and without a region one without a plus, too.
    """
    own = plan_at(region)
    known, unsure = r"^\+?[0-9]{5,15}$", rf"^(?:00|\+{_behind_plus()})"
    if own is not None:
        known, unsure = r"^\+[0-9]{5,15}$", rf"^\+{_either((own.abroad, _behind_plus()))}"
    return pl.when(digits.str.contains(known) & ~digits.str.contains(unsure)).then(digits)


def national_numbers(digits: pl.Series, region: str | None) -> pl.Series:
    """Return the number in E.164 of digits that can only be a national number; null for what it isn't sure of."""
    frame = digits.to_frame("digits")
    for step in _national_steps(region):
        frame = frame.with_columns(step)
    return frame["number"]


@cache
def _national_steps(region: str | None) -> tuple[pl.Expr, ...]:
    own = plan_at(region)
    if own is None:
        return (pl.lit(None, pl.String).alias("number"),)
    bare = _DIGITS if own.rewrites else _DIGITS.str.replace(f"^{own.prefix}", "")
    if own.rewrites:
        national = ~_DIGITS.str.contains(f"^{own.prefix}")
    elif own.prefix == f"(?:{own.code})":  # 1 201 555 0123: whether the 1 is a prefix or a code makes no difference
        national = ~_BARE.str.starts_with(own.code)
    else:
        national = (_BARE == _DIGITS) | ~_DIGITS.str.starts_with(own.code)
    for plan in dict.fromkeys((own, plan_of(int(own.code)))):
        national &= _BARE.str.contains(f"^{plan.shape}$") & _BARE.str.len_bytes().is_in(plan.usable)
    national &= ~_DIGITS.str.contains(f"^{own.abroad}")
    return bare.alias("bare"), pl.when(national).then(pl.lit(f"+{own.code}") + _BARE).alias("number")


def numbers(digits: pl.Series, region: str | None) -> pl.DataFrame:
    """Return for each text of `digits`, perhaps behind a plus, its `number` in E.164 or null, and whether it's `sure`.

    Behind a plus, null also stands for a number that needs no change.
    """
    frame = digits.to_frame("digits")
    for step in _steps(region):
        frame = frame.with_columns(step)
    return frame.select("digits", "number", "sure")


@cache
def _steps(region: str | None) -> tuple[tuple[pl.Expr, ...], ...]:
    own, world = plan_at(region), _world()
    rewritten, is_number = _WHOLE.str.extract(world.rewritten), pl.col("is_number")
    removed = pl.when("foreign").then(_WHOLE.str.replace(world.prefixed, world.bare)).otherwise(_WHOLE)
    doubt = pl.col("doubt") | (rewritten.is_not_null() & ~rewritten.is_in(world.codes))
    prefix_may_stay = ~is_number & (_BARE != _WHOLE) & ~_DIGITS.str.starts_with("+")
    return (
        *(_anywhere() if own is None else _at_home(own)),
        (removed.alias("bare"), doubt.alias("doubt")),
        ((_BARE.str.contains(world.shape) & _BARE.str.contains(world.length)).alias("is_number"),),
        (
            pl.when(is_number).then(_BARE).alias("number"),
            (~(pl.col("doubt") | prefix_may_stay.fill_null(value=False))).alias("sure"),
        ),
    )


def _anywhere() -> tuple[tuple[pl.Expr, ...], ...]:
    """Return `whole`, a plus and the digits from the calling code on, for texts that are read without a region."""
    behind_zeros = pl.when(_DIGITS.str.starts_with("00")).then(pl.lit("+") + _DIGITS.str.slice(2))
    whole = pl.when(_DIGITS.str.starts_with("+")).then(_DIGITS).otherwise(behind_zeros)
    return ((whole.alias("whole"), pl.lit(value=True).alias("foreign"), pl.lit(value=False).alias("doubt")),)


def _at_home(own: NumberingPlan) -> tuple[tuple[pl.Expr, ...], ...]:
    """Return `whole` for texts that are read in a region; `foreign` where its prefix may be another plan's."""
    prefix = _NOTHING if own.rewrites else own.prefix
    plus, has_code = _DIGITS.str.starts_with("+"), _DIGITS.str.starts_with(own.code)
    behind_code = _DIGITS.str.strip_prefix(own.code)
    doubt = _DIGITS.str.contains(rf"^\+{own.abroad}")
    if own.abroad != "(?:00)":
        doubt |= _DIGITS.str.starts_with("00")
    if own.rewrites:
        doubt |= _begins(_DIGITS, own.prefix) | (has_code & _begins(behind_code, own.prefix))
    without = (
        _DIGITS.str.replace(f"^{own.abroad}", "").alias("behind_abroad"),
        _DIGITS.str.replace(f"^{prefix}", "").alias("behind_prefix"),
        behind_code.alias("behind_code"),
        behind_code.str.replace(f"^{prefix}", "").alias("behind_both"),
    )
    names = ("digits", "behind_prefix", "behind_code", "behind_both")
    shapes = tuple(pl.col(name).str.contains(f"^{own.shape}$").alias(f"{name}_shaped") for name in names)
    shaped, prefix_shaped, code_shaped, both_shaped = (pl.col(f"{name}_shaped") for name in names)
    fits = pl.col("behind_prefix").str.contains(f"^(?:{_digits(own.lengths)}|{own.longer})$")
    national = pl.when((~shaped | prefix_shaped) & fits).then("behind_prefix").otherwise("digits")
    coded = pl.when(code_shaped & ~both_shaped).then("behind_code").otherwise("behind_both")
    needs_code = (~shaped & (code_shaped | both_shaped)) | _DIGITS.str.contains(f"^{own.longer}$")
    dialled = (pl.col("behind_abroad") != _DIGITS) & ~pl.col("behind_abroad").str.starts_with("0")
    whole = (
        pl.when(plus)
        .then(_DIGITS)
        .when(dialled)
        .then(pl.lit("+") + pl.col("behind_abroad"))
        .otherwise(pl.lit(f"+{own.code}") + pl.when("coded").then(coded).otherwise(national))
    )
    return (
        (*without, doubt.alias("doubt")),
        shapes,
        ((has_code & needs_code).alias("coded"),),
        (whole.alias("whole"), (plus | dialled | pl.col("coded")).alias("foreign")),
    )


def _begins(text: pl.Expr, pattern: str) -> pl.Expr:
    """Say whether a pattern that may match nothing at all matches something at a text's beginning."""
    return text.str.extract(f"^({pattern})").str.len_bytes().fill_null(0) > 0


@dataclass(frozen=True, slots=True)
class _World:
    """All plans together, as patterns over texts of a plus and digits.

    `shape` and `length`: both match what is a number. What `prefixed` matches becomes `bare`: without the national
    prefix. `rewritten` captures a calling code and the prefix to rewrite behind it; one of `codes` alone has none.
    """

    shape: str
    length: str
    prefixed: str
    bare: str
    rewritten: str
    codes: tuple[str, ...]


@cache
def _world() -> _World:
    plans = _plans()
    prefixed = [plan for plan in plans if plan.prefix != _NOTHING]
    removed = _codes_by_pattern((plan.prefix, plan.code) for plan in prefixed if not plan.rewrites)
    rewritten = _codes_by_pattern((plan.prefix, plan.code) for plan in prefixed if plan.rewrites)
    lengths = _codes_by_pattern((_digits(plan.usable), plan.code) for plan in plans)
    plus = r"\+"
    behind_codes = [f"({plus}{codes}){prefix}" for prefix, codes in removed.items()]
    return _World(
        shape=f"^{plus}{_either(plan.code + plan.shape for plan in plans)}$",
        length=f"^{plus}{_either(codes + length for length, codes in lengths.items())}$",
        prefixed=f"^{_either(behind_codes)}",
        bare="".join(f"${{{group}}}" for group in range(1, len(removed) + 1)),
        rewritten=rf"^\+({_either(codes + prefix for prefix, codes in rewritten.items())})",
        codes=tuple(plan.code for plan in prefixed if plan.rewrites),
    )


@cache
def _behind_plus() -> str:
    """Match a calling code and what may be a national prefix behind it."""
    prefixes = _codes_by_pattern((plan.prefix, plan.code) for plan in _plans() if plan.prefix != _NOTHING)
    return _either(codes + prefix for prefix, codes in prefixes.items())


def _plans() -> list[NumberingPlan]:
    return [plan_of(code) for code in COUNTRY_CODE_TO_REGION_CODE]


def _plan(metadata: PhoneMetadata | None) -> NumberingPlan:
    if metadata is None or metadata.general_desc is None:
        raise LookupError("phonenumbers has no metadata for a calling code that it names")
    return NumberingPlan(
        code=str(metadata.country_code),
        shape=_plain(metadata.general_desc.national_number_pattern),
        lengths=tuple(metadata.general_desc.possible_length),
        prefix=_plain(metadata.national_prefix_for_parsing),
        rewrites=bool(metadata.national_prefix_transform_rule),
        abroad=_plain(metadata.international_prefix),
    )


def _plain(pattern: str | None) -> str:
    """Return a pattern of the metadata as a group that captures nothing, for ASCII digits."""
    if not pattern:
        return _NOTHING
    return f"(?:{re.sub(r'[(](?![?])', '(?:', pattern)})".replace(r"\d", "[0-9]")


def _codes_by_pattern(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each pattern with the one that matches all of its codes."""
    codes: dict[str, list[str]] = defaultdict(list)
    for pattern, code in pairs:
        codes[pattern].append(code)
    return {pattern: _either(same) for pattern, same in codes.items()}


def _digits(lengths: Iterable[int]) -> str:
    return _either(f"[0-9]{{{length}}}" for length in lengths)


def _either(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(patterns)})"
