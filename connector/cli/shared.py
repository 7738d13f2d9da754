"""What every command needs: the installation it works on, and how it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.app import App, load_config
from connector.config.resolved import Config
from connector.observe import log

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 1_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document, on standard output.")
target_argument = click.argument("target", metavar="[CLIENT[/STREAM]]", required=False)
stream_argument = click.argument("stream", metavar="CLIENT/STREAM")


class Installation:
    """The configuration at a path, loaded when a command first asks for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._app: App | None = None

    @property
    def app(self) -> App:
        if self._app is None:
            config: Config = load_config(self.path)
            log.configure(config.log.format, config.log.level)
            self._app = App(config)
        return self._app

    def close(self) -> None:
        if self._app is not None:
            self._app.close()


pass_installation = click.make_pass_decorator(Installation)


def console() -> Console:
    """Return a console on standard output; into a pipe it prints plain lines that are not wrapped."""
    from rich.console import Console  # a pull that prints JSON needs none of rich

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPE_COLUMNS)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, default=_plain))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table; numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    found = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    numeric = [bool(rows) and all(isinstance(row[index], int) for row in rows) for index in range(len(headers))]
    for header, right in zip(headers, numeric, strict=True):
        found.add_column(header, justify="right" if right else "left", overflow="fold")
    for row in rows:
        found.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    wide = console()
    with wide.capture() as text:  # rich would end the process when a pipe closes
        wide.print(found)
    click.echo(text.get(), nl=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
