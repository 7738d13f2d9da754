"""Give each peer a virtual environment of its own, below `build/`, so that no peer's pins bind another's or ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import taken

FOLDER = Path(__file__).parents[3] / "build" / "peers"
INSTALL_TIMEOUT_S = 1800.0
READY = "installed.txt"  # written last: what a half-installed environment lacks


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment's name and what is installed in it."""

    name: str
    requirements: tuple[str, ...]


def installed(environment: Environment, folder: Path = FOLDER) -> Path:
    """Return the environment's folder, made new unless it holds these very requirements already."""
    path = folder / environment.name
    ready = path / READY
    wanted = "\n".join(environment.requirements) + "\n"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return path
    shutil.rmtree(path, ignore_errors=True)
    taken([sys.executable, "-m", "venv", str(path)], environment={}, timeout_s=INSTALL_TIMEOUT_S)
    taken(
        [str(path / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        + list(environment.requirements),
        environment={},
        timeout_s=INSTALL_TIMEOUT_S,
    )
    ready.write_text(wanted, encoding="utf-8")
    return path


def program(path: Path, name: str) -> list[str]:
    """Return how to start a Python program of an environment, also after the project's folder was moved."""
    return [str(path / "bin" / "python"), str(path / "bin" / name)]


def packages(path: Path) -> Path:
    """Return the folder that an environment's packages lie in."""
    (found,) = path.glob("lib/python*/site-packages")
    return found


def duckdb_rows(database: Path, table: str, environment: Path) -> Path:
    """Write a DuckDB table to a Parquet file beside it, with the environment's own DuckDB, and return the file."""
    path = database.with_suffix(".parquet")
    script = (
        "import sys, duckdb; "
        "duckdb.connect(sys.argv[1], read_only=True).execute(f\"COPY {sys.argv[2]} TO '{sys.argv[3]}'\")"
    )
    subprocess.run(
        [str(environment / "bin" / "python"), "-c", script, str(database), table, str(path)], check=True, timeout=600
    )
    return path
