"""Load the operator's YAML files into a Config, or say everything that is wrong with them at once."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from connector.config import document, resolve, rules, secrets
from connector.config.document import Document, DocumentError
from connector.config.problems import ConfigProblems, Problem, Where
from connector.config.resolved import Config
from connector.config.rules import Known
from connector.config.schema import ClientFile, ConnectorFile
from connector.config.shape import FileReport, S, shaped

__all__ = ["ConfigProblems", "Problem", "load"]

CONNECTOR_FILE = "connector.yaml"
MAX_CLIENT_FILES = 10_000


@dataclass(frozen=True, slots=True)
class _Read(Generic[S]):
    """A file with its report; `content` is None when nothing can be made of it."""

    report: FileReport
    content: S | None


def load(
    path: Path,
    *,
    engines: Collection[str],
    entities: Mapping[str, Collection[str]],
    aliases: Mapping[str, str] | None = None,
    dates: Mapping[str, Collection[str]] | None = None,
) -> Config:
    """Load connector.yaml (or the one in a folder) and its clients' files; raise ConfigProblems with every problem.

    `engines` are the engines that can be configured and `aliases` other names for them; `entities` maps each entity
    to the fields it requires, `dates` to those that are dates or timestamps.
    """
    main = resolve.absolute(path / CONNECTOR_FILE if path.is_dir() else path, Path.cwd())
    known = Known(engines, entities, aliases or {}, dates or {})
    connector = _read(main, main.parent, ConnectorFile)
    clients = [_read(file, main.parent, ClientFile) for file in _client_files(main, connector)]
    if connector.content is not None:
        rules.check_connector(connector.content, connector.report)
    for client in clients:
        if client.content is not None:
            rules.check_client(client.content, known, client.report)
    rules.check_names([(client.content, client.report) for client in clients if client.content is not None])
    reports = [connector.report, *(client.report for client in clients)]
    problems = [problem for report in reports for problem in _in_order(report)]
    if problems or connector.content is None:
        raise ConfigProblems(problems)
    return _config(main, connector.content, clients, known)


def _config(main: Path, connector: ConnectorFile, clients: list[_Read[ClientFile]], known: Known) -> Config:
    return Config(
        path=main,
        store=resolve.store_settings(connector, main.parent),
        log=resolve.log_settings(connector),
        daemon=resolve.daemon_settings(connector),
        clients=tuple(
            resolve.client(client.content, connector.defaults, client.report.document.file.parent, known.aliases)
            for client in clients
            if client.content is not None
        ),
    )


def _read(file: Path, root: Path, shape: type[S]) -> _Read[S]:
    shown = str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
    try:
        read = document.read(file)
    except DocumentError as error:
        report = FileReport(Document(file, None), shown)
        report.problems.append(Problem(shown, error.line, "", error.message))
        return _Read(report, None)
    report = FileReport(read, shown)
    for where, first in read.twice.items():
        report.add(where, f"is there twice; first on line {first}")
    unfilled: list[Where] = []

    def unfillable(where: Where, message: str) -> None:
        report.add(where, message)
        unfilled.append(where)

    data = secrets.filled(read.data, file.parent, unfillable)
    report.mended.update(unfilled)
    return _Read(report, shaped(data, shape, report))


def _client_files(main: Path, connector: _Read[ConnectorFile]) -> list[Path]:
    """Return the clients' files in the order of their names."""
    if connector.content is None or ("clients",) in connector.report.mended:
        return []
    pattern = connector.content.clients
    names = glob.glob(pattern, root_dir=main.parent, recursive=True)  # noqa: PTH207  # Path.glob refuses absolute ones
    files = [resolve.absolute(name, main.parent) for name in sorted(names)]
    files = [file for file in files if file.is_file() and file != main]
    if not files:
        connector.report.add(("clients",), "no file matches; put each client's file there")
    if len(files) > MAX_CLIENT_FILES:
        connector.report.add(("clients",), f"matches more than {MAX_CLIENT_FILES:,} files")
    return files[:MAX_CLIENT_FILES]


def _in_order(report: FileReport) -> list[Problem]:
    return sorted(report.problems, key=lambda problem: problem.line)
