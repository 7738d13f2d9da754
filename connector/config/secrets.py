"""`${NAME}` and `${file:/path}` in the texts of a configuration file; `$${` stands for `${` itself.

`{$last_id}` and `{$last_date}` of a query start with a brace and are left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from connector.config.problems import Where

MAX_BYTES = 65_536
_PLACE = re.compile(r"\$(\$\{)|\$\{([^{}\n]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Report: TypeAlias = Callable[[Where, str], None]


def filled(value: Any, folder: Path, report: Report, where: Where = ()) -> Any:
    """Return the values with every placeholder filled in; report those that can't be, and leave an empty text there.

    Inside a URL the filled-in text is percent-encoded, so that a password may hold any character; a URL that is
    one placeholder as a whole is taken as it is.
    """
    if isinstance(value, Mapping):
        return {key: filled(inner, folder, report, (*where, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, folder, report, (*where, n)) for n, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _PLACE.fullmatch(value)
    encode = where == ("source", "url") and not (whole and whole.group(2))
    try:
        return _PLACE.sub(lambda match: _text(match, folder, encode), value)
    except ValueError as error:
        report(where, str(error))
        return ""


def _text(match: re.Match[str], folder: Path, encode: bool) -> str:
    if match.group(1):
        return "${"
    name = match.group(2) or ""
    if name.startswith("file:"):
        text = _from_file(folder / name.removeprefix("file:"))
    elif _NAME.fullmatch(name):
        text = os.environ.get(name, "")
        if not text:
            raise ValueError(f"the environment variable {name} is not set, or is empty")
    else:
        raise ValueError("${ must be followed by NAME} or file:/path}; write $${ for the characters ${ themselves")
    return quote(text, safe="") if encode else text


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise ValueError(f"{file} can't be read: {(error.strerror or 'input/output error').lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    except ValueError:
        raise ValueError("the path of a secret's file holds a character that no path may hold") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{file} is larger than {MAX_BYTES:,} bytes")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"{file} is empty")
    return text
