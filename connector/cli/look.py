"""`check`, `preview` and `schema`: look before anything is pulled."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from connector.app import App, entity_of
from connector.cli.shared import (
    Installation,
    json_option,
    pass_installation,
    print_json,
    stream_argument,
    table,
    target_argument,
)
from connector.config.schema import json_schema, write_schemas
from connector.errors import SourceRefused, named
from connector.runs.check import Finding, Grade, check_stream
from connector.source.reader import Reader

MARKS = {Grade.OK: "ok     ", Grade.WARNING: "WARNING", Grade.ERROR: "ERROR  "}
STOPPED = 3
PREVIEW_ROWS = 10
SHAPE_CHARACTERS = 40


@click.command()
@target_argument
@json_option
@pass_installation
def check(installation: Installation, target: str | None, as_json: bool) -> int:
    """Look at each stream's source: connection, table, columns, types, key, index, rights, size.

    Nothing is pulled and the store is not touched. One line per finding, with the remedy. Ends with 3 when one is an
    error.

    \b
    Example: connector check acme
    """
    app = installation.app
    findings: list[Finding] = []
    for client, stream in app.matching(target):
        source = client.source
        found = check_stream(stream, entity_of(stream), lambda: app.sources.session(source))  # noqa: B023 - called before the next turn
        findings += found
        if not as_json:
            _print(str(stream.id), found)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    return STOPPED if any(finding.grade is Grade.ERROR for finding in findings) else 0


def _print(stream: str, findings: list[Finding]) -> None:
    click.echo(stream)
    for finding in findings:
        remedy = f". {finding.remedy}" if finding.remedy else ""
        click.echo(f"  {MARKS[finding.grade]} {finding.what}{remedy}")


@click.command()
@stream_argument
@json_option
@pass_installation
def preview(installation: Installation, stream: str, as_json: bool) -> int:
    """Show the exact SQL of a first batch, and ten rows of it with their values masked.

    \b
    Example: connector preview acme/customers
    """
    app = installation.app
    sql, binds, rows = _preview(app, stream)
    if as_json:
        print_json({"stream": stream, "sql": sql, "binds": binds, "rows": rows})
        return 0
    click.echo(f"{sql}\n  with {binds} bound {'value' if binds == 1 else 'values'}")
    if rows:
        table(list(rows[0]), [[*row.values()] for row in rows])
    else:
        click.echo("no rows")
    return 0


def _preview(app: App, name: str) -> tuple[str, int, list[dict[str, str]]]:
    client, stream = app.find(name)
    with named(name), app.sources.session(client.source) as session:
        try:
            layout = session.layout(stream, frozenset(entity_of(stream).by_name))
        except SourceRefused:
            click.echo(session.describing(stream).sql, err=True)  # the SQL may be what is wrong
            raise
        reader = Reader(session, stream, layout)
        statement = session.dialect.render(reader.page(reader.beginning, stream.batch_size))
        rows = reader.sample(PREVIEW_ROWS)
    return statement.sql, len(statement.binds), [{key: masked(value) for key, value in row.items()} for row in rows]


def masked(value: Any) -> str:
    """Show a value's shape only: letters as x, digits as 9."""
    if value is None:
        return "null"
    text = value.hex() if isinstance(value, bytes) else str(value)
    hidden = "".join("9" if char.isdigit() else "x" if char.isalpha() else char for char in text[:SHAPE_CHARACTERS])
    return hidden + ("…" if len(text) > SHAPE_CHARACTERS else "")


@click.command()
@click.option("--write", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write both files there.")
def schema(folder: Path | None) -> int:
    """Print the JSON Schema of connector.yaml and of the clients' files, for editors.

    \b
    Example: connector schema --write config
    """
    if folder is None:
        print_json(json_schema())
    else:
        write_schemas(folder)
    return 0


COMMANDS = (check, preview, schema)
