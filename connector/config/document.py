"""A YAML file as plain values, with the line of every key and list item.

Scalars follow YAML 1.2's reading, without its octal and hexadecimal numbers: only `true` and `false` are booleans,
`yes`, `on`, `0123`, `12:30` and `2024-01-01` are the text that was written. Keys are always text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from connector.config.problems import Where

MAX_BYTES = 4_000_000
MAX_VALUES = 100_000  # aliases of aliases can make a small file endless

_SCALARS = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"^(?:0|-?[1-9][0-9]{0,17})$", "-0123456789"),
    "tag:yaml.org,2002:float": (r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", ("~", "n", "N", "")),
    "tag:yaml.org,2002:merge": (r"^<<$", "<"),
}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_HARMLESS = re.compile(r"'(?:<[a-z ]+>|[^\w\s])'")
_TAGS = {"map", "seq", "str", "bool", "int", "float", "null"}


class DocumentError(Exception):
    """Say what makes a file unreadable, on which line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values, the line of each, and the keys that stand in it twice with the line of the first.

    `nulls` are the places where null is written out, and not just left empty.
    """

    file: Path
    data: Any = field(repr=False)  # may hold passwords
    lines: Mapping[Where, int] = field(repr=False, default_factory=dict)
    twice: Mapping[Where, int] = field(repr=False, default_factory=dict)
    nulls: Collection[Where] = field(repr=False, default=())

    def line(self, where: Where) -> int:
        """Return the line of the value, or of the nearest one around it."""
        return next((self.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.lines), 1)


def read(file: Path) -> Document:
    """Read one file; raise DocumentError when it can't be read or is not YAML."""
    text = _text(file)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        walk = _Walk(loader)
        data = None if node is None else walk.value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(mark.line + 1 if mark else 1, _syntax(error)) from None
    except yaml.YAMLError:
        raise DocumentError(1, "is not YAML: it holds a character that YAML does not allow") from None
    except RecursionError:
        raise DocumentError(1, "is nested too deeply") from None
    return Document(file, data, walk.lines, walk.twice, walk.nulls)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DocumentError(1, f"is larger than {MAX_BYTES:,} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(1, f"can't be read: {(error.strerror or 'input/output error').lower()}") from None
    except UnicodeDecodeError:
        raise DocumentError(1, "is not UTF-8 text") from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """Keep the parser's words but not what it quotes, which may be part of a password."""
    words = _QUOTED.sub(
        lambda match: match[0] if _HARMLESS.fullmatch(match[0]) else "…", error.problem or "wrong syntax"
    )
    return f"is not YAML: {words}; quote values that hold special characters"


class _Loader(yaml.SafeLoader):
    """Read scalars as the module says, and refuse tags."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own form; add_implicit_resolver fills it


for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


class _Walk:
    """Turn nodes into values, noting lines; every place gets its own value, so that a change to one stays there."""

    def __init__(self, loader: _Loader) -> None:
        self.lines: dict[Where, int] = {}
        self.twice: dict[Where, int] = {}
        self.nulls: set[Where] = set()
        self._loader = loader
        self._above: set[int] = set()
        self._flat: set[int] = set()
        self._values = 0

    def value(self, node: yaml.Node, where: Where) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise DocumentError(node.start_mark.line + 1, f"holds more than {MAX_VALUES:,} values, counting aliases")
        if id(node) in self._above:
            raise DocumentError(node.start_mark.line + 1, "an alias stands inside what it names")
        if node.tag.rpartition(":")[2] not in _TAGS:
            raise DocumentError(node.start_mark.line + 1, "has a tag; only plain YAML is read here")
        self._above.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, where)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(child, (*where, n)) for n, child in enumerate(node.value)]
            value = self._scalar(node)
            if value is None and node.value:
                self.nulls.add(where)
            return value
        finally:
            self._above.discard(id(node))

    def _item(self, node: yaml.Node, where: Where) -> Any:
        self.lines[where] = node.start_mark.line + 1
        return self.value(node, where)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node)
        except ValueError:  # an explicit tag such as !!int on something else
            raise DocumentError(node.start_mark.line + 1, "has a value that its tag does not fit") from None

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        if id(node) not in self._flat:
            self._flat.add(id(node))
            self._note_twice(node, where)
            self._loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key, child in node.value:
            inner = (*where, _key(key))
            self.lines[inner] = key.start_mark.line + 1
            values[_key(key)] = self.value(child, inner)
        return values

    def _note_twice(self, node: yaml.MappingNode, where: Where) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if _key(key) in first:
                self.twice[(*where, _key(key))] = first[_key(key)]
            first.setdefault(_key(key), key.start_mark.line + 1)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise DocumentError(node.start_mark.line + 1, "a key must be a text")
    return str(node.value)
