"""The rules of the house that a machine can hold: see STYLE and ARCHITECTURE."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "connector").rglob("*.py"))
EVERYWHERE = SOURCES + sorted((ROOT / "tests").rglob("*.py"))

MODULE_LINES = 400
CLASS_LINES = 250
FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
CLOCK = "connector/clock.py"
ENGINES = re.compile(r"postgres|psycopg|mysql|mariadb|sqlite|mssql|sql ?server|pyodbc|oracle", re.IGNORECASE)
ENGINES_AT_HOME = ("connector/source/dialects/", "connector/registry.py")
STORE_ENGINES = re.compile(r"sqlite|postgres(?:ql)?", re.IGNORECASE)  # the two that the store itself runs on
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)(?P<code>:\s*[A-Z0-9, ]+|\[[a-z0-9, -]+\])?(?P<rest>.*)"
)

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
every_file = pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def length(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a program acts on, without comments and docstrings: identifiers, imports, string constants."""
    prose = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree(path)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield line, text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.alias(name=text):
                yield line, text
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                yield line, text
            case ast.ImportFrom(module=str(text)):
                yield line, text


def test_there_are_sources_to_check() -> None:
    assert any(name(path) == CLOCK for path in SOURCES)


@every_source
def test_a_name_says_what_a_module_is_for(path: Path) -> None:
    assert not VAGUE_NAMES & {part.strip("_").lower() for part in path.relative_to(ROOT).with_suffix("").parts}


@every_file
def test_modules_classes_and_functions_stay_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    long = [f"{lines} lines in the module"] if lines > MODULE_LINES else []
    for node in ast.walk(tree(path)):
        limit = {ast.ClassDef: CLASS_LINES, ast.FunctionDef: FUNCTION_LINES}.get(type(node))
        if limit is not None and isinstance(node, ast.ClassDef | ast.FunctionDef) and length(node) > limit:
            long.append(f"{length(node)} lines in {node.name}, line {node.lineno}; at most {limit}")
    assert not long


@every_source
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)) or not tree(path).body, "a module needs a docstring"


@every_source
def test_code_is_synchronous(path: Path) -> None:
    found = [n.lineno for n in ast.walk(tree(path)) if isinstance(n, ast.AsyncFunctionDef | ast.Await)]
    assert not found, f"one way to run: threads where waiting overlaps; lines {found}"


@every_source
def test_only_the_clock_module_reads_the_clock(path: Path) -> None:
    if name(path) == CLOCK:
        return
    found = []
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                found.append(f"line {node.lineno}: import time")
            case ast.ImportFrom(module="time"):
                found.append(f"line {node.lineno}: from time import")
            case ast.Attribute(attr="now" | "utcnow" | "today", value=value):
                owner = ast.unparse(value).rpartition(".")[2]
                if owner in {"datetime", "date"}:
                    found.append(f"line {node.lineno}: {owner}.{node.attr}")
    assert not found, "ask connector.clock"


@every_source
def test_engines_are_named_only_at_home(path: Path) -> None:
    if name(path).startswith(ENGINES_AT_HOME):
        return
    own = STORE_ENGINES if name(path).startswith("connector/store/") else None
    found = []
    for line, text in texts(path):
        named = [hit for hit in ENGINES.findall(text) if own is None or not own.fullmatch(hit)]
        if named:
            found.append(f"line {line}: {', '.join(sorted(set(named)))}")
    assert not found, "declare a capability in the dialect instead"


@every_source
def test_only_the_command_line_prints(path: Path) -> None:
    if name(path).startswith("connector/cli/"):
        return
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if ast.unparse(call.func) == "print"]


@every_file
def test_a_suppression_has_a_code_and_a_reason(path: Path) -> None:
    bare = []
    for line, comment in comments(path):
        for hit in SUPPRESSION.finditer(comment):
            reason = hit["rest"].strip(" #-–:")
            if not hit["code"] or len(reason) < 5:
                bare.append(f"line {line}: {comment}")
    assert not bare, "write `# noqa: CODE - reason` or `# type: ignore[code]  # reason`"


@every_file
def test_nothing_is_left_for_later(path: Path) -> None:
    if path == Path(__file__):
        return
    assert not [f"line {line}: {comment}" for line, comment in comments(path) if UNFINISHED.search(comment)]


@every_file
def test_every_file_is_utf8_without_tabs_or_trailing_blanks(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    assert not [number for number, line in enumerate(lines, 1) if line != line.rstrip() or "\t" in line]


@pytest.mark.parametrize("kind", ["constraints.txt", "pyproject.toml"])
def test_pinned_packages_hold_no_address(kind: str) -> None:
    assert not re.search(r"https?://|file:|@ |--(index|find|extra)|-e ", (ROOT / kind).read_text(encoding="utf-8"))


def test_every_dependency_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[\[<>=~! ]", text, maxsplit=1)[0].lower().replace("_", "-") for text in wanted}
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in pinned)
    assert not names - {line.partition("==")[0].lower().replace("_", "-") for line in pinned}
