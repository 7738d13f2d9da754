"""Hold a file's values against its shape, and find everything that does not fit in one go.

A value that does not fit is reported, then taken out (or replaced by its key's example where the key is required), so
that the rules about several values can still be checked. A configuration with a problem is never used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from connector.config.document import Document
from connector.config.problems import Problem, Where, closest, dotted
from connector.config.schema import Section

S = TypeVar("S", bound=Section)

PASSES = 8  # more than the shape is deep: each pass mends one level

_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "unknown key",
    "string_type": "must be a text",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "must begin with a letter or digit and hold only letters, digits, _ . and -",
    "literal_error": "must be one of {expected}",
    "too_short": "is empty",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "model_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of names to values",
    "dict_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}

_SECRETS = (("source", "password"), ("source", "url"))  # an unquoted {word} there turns the secret into a key


@dataclass(slots=True)
class FileReport:
    """Collect the problems of one file, each place once."""

    document: Document
    shown: str
    problems: list[Problem] = field(default_factory=list)
    mended: set[Where] = field(default_factory=set)

    def add(self, where: Where, message: str, suggestion: str = "", *, touches: tuple[Where, ...] = ()) -> None:
        """Report a problem, unless something that it rests on is already known to be wrong."""
        if any(place[: len(bad)] == bad for place in (where, *touches) for bad in self.mended):
            return
        path = where[:2] if where[:2] in _SECRETS else where
        self.problems.append(Problem(self.shown, self.document.line(where), dotted(path), message, suggestion))

    def place(self, where: Where) -> str:
        return f"{self.shown}:{self.document.line(where)}"


def shaped(data: Any, shape: type[S], report: FileReport) -> S | None:
    """Return the file as its shape, mended where problems were reported, or None when nothing can be made of it.

    Changes `data`.
    """
    if not isinstance(data, dict):
        report.add((), "must be a mapping of keys to values" if data is not None else "is empty")
        return None
    _drop_nulls(data, report, (), shape)
    for attempt in range(PASSES):
        try:
            return shape.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details if attempt == 0 else ():  # what comes later comes of the mending
            where = _where(detail)
            report.add(where, *_explained(detail, where, shape))
        for detail in details:
            _mend(data, _where(detail), shape)
            report.mended.add(_where(detail))
    return None


def _where(detail: ErrorDetails) -> Where:
    """Return where the value stands, without pydantic's own marks in the path."""
    return tuple(part for part in detail["loc"] if not (isinstance(part, str) and part in _MARKS))


_MARKS = {"<column>", "<section>", "<word>", "<filter>", "[key]"}


def _explained(detail: ErrorDetails, where: Where, shape: type[Section]) -> tuple[str, str]:
    """Say what is wrong in words of our own, and what was probably meant."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value":
        return str(context["message"]), str(context["suggestion"])
    if kind in ("tenant", "field_source"):
        return detail["msg"], ""
    message = _MESSAGES.get(kind, "is not valid here").format(**context)
    if kind == "extra_forbidden":
        section = _section_at(shape, where[:-1])
        return message, closest(where[-1], section.model_fields if section else ())
    if kind == "literal_error":
        return message, closest(detail["input"], str(context["expected"]).split("'")[1::2])
    if kind == "string_pattern_mismatch" and "fields" in where:
        message = "must not begin with _ or a blank"
    return message, ""


def _drop_nulls(value: Any, report: FileReport, where: Where, shape: type[Section]) -> None:
    """Report keys without a value: `tenant:` with its lines commented out must not pass for a choice.

    Where "null" is a choice and stands there without quotes, it is that.
    """
    parts = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for part in parts:
        inner = value[part]
        if inner is not None:
            _drop_nulls(inner, report, (*where, part), shape)
            continue
        if (*where, part) in report.document.nulls and _takes_null(shape, (*where, part)):
            value[part] = "null"
            continue
        report.add((*where, part), "has no value; give one or remove the line")
        report.mended.add((*where, part))
        if isinstance(value, dict):
            del value[part]


def _takes_null(shape: type[Section], where: Where) -> bool:
    """Say whether "null" is one of the words that a key takes."""
    section = _section_at(shape, where[:-1])
    known = section.model_fields.get(str(where[-1])) if section else None
    return known is not None and "null" in _words(known.annotation)


def _words(annotation: Any) -> set[Any]:
    inner = get_args(annotation)
    return set(inner) if get_origin(annotation) is Literal else set().union(*map(_words, inner))


def _mend(data: Any, where: Where, shape: type[Section]) -> None:
    """Take the value out, or put its key's example in its place when the key is required."""
    *above, last = where or ("",)
    for part in above:
        try:
            data = data[part]
        except (LookupError, TypeError):  # taken out with what was around it
            return
    section = _section_at(shape, tuple(above))
    known = section.model_fields.get(str(last)) if section else None
    if isinstance(data, list) and isinstance(last, int):
        data[last] = "stand-in"
    elif isinstance(data, dict) and known is not None and known.is_required():
        data[last] = known.examples[0] if known.examples else {}
    elif isinstance(data, dict):
        data.pop(last, None)


def _section_at(shape: type[Section], where: Where) -> type[Section] | None:
    """Return the section that a path leads to."""
    section: type[Section] | None = shape
    named = False  # the next part is a name that the operator chose, such as a stream's
    for part in where:
        if named:
            named = False
            continue
        known: FieldInfo | None = section.model_fields.get(str(part)) if section else None
        if known is None:
            return None
        named = _is_mapping(known.annotation)
        section = _section_in(known.annotation)
    return None if named else section


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is Mapping or any(_is_mapping(inner) for inner in get_args(annotation))


def _section_in(annotation: Any) -> type[Section] | None:
    """Return the one section that an annotation speaks of, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner))), None)
