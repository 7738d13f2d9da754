"""What is wrong with the configuration files: where it stands, what it is, and what was probably meant.

No message quotes a value: any text in these files may be a secret, or may have been replaced by one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from connector.errors import ConfigError

Where: TypeAlias = tuple[str | int, ...]
"""The keys and list positions that lead to a value of a YAML file."""

_NAME = re.compile(r"[\w .-]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `file` is shown relative to connector.yaml's folder; `suggestion` is the word to use."""

    file: str
    line: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}: {self.path}: " if self.path else f"{self.file}:{self.line}: "
        tail = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return f"{head}{self.message}{tail}"


class ConfigProblems(ConfigError):
    """Carry every problem that was found, in the order of files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(where: Where) -> str:
    """Write a path as people say it: `streams.customers.key[0]`.

    A key that no name looks like is left out: `{password:secret}` without a blank is one key.
    """
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if _NAME.fullmatch(part) else ".…" for part in where
    )
    return text.removeprefix(".")


def closest(word: object, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, or an empty text."""
    if not isinstance(word, str):
        return ""
    folded = {name.casefold(): name for name in known}
    match = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else ""
