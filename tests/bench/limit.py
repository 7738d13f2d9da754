"""The physical limit: the engine's own client reads the same keyset batches, in one session, to nowhere."""

from __future__ import annotations

from pathlib import Path

from tests.bench.customers import Sample
from tests.bench.measure import Taken, taken
from tests.servers import Database


def statements(database: Database, table: str, sample: Sample, folder: Path) -> Path:
    """Write the statements that read every page; the same pages are checked to hold every row once."""
    pages = [page.select(table) for page in sample.pages]
    found = sum(database.execute(f"SELECT count(*) FROM ({page}) AS page")[0][0] for page in pages)
    if found != sample.rows:
        raise RuntimeError(f"the pages of {table} hold {found} rows instead of {sample.rows}")
    if database.server.engine == "postgresql":
        pages = [f"COPY ({page}) TO STDOUT (FORMAT binary)" for page in pages]
    path = folder / f"{database.server.engine}-{table}.sql"
    path.write_text(";\n".join(pages) + ";\n", encoding="utf-8")
    return path


def read(database: Database, path: Path, *, keep_output: bool = False) -> Taken:
    """Read every page with `psql` (COPY, binary) or `mariadb --quick`."""
    server = database.server
    if server.programs is None:
        raise RuntimeError("the limit is measured with local programs, not in a container")
    if server.engine == "postgresql":
        command = [
            server.programs["psql"],
            "--no-psqlrc",
            "--quiet",
            "-v",
            "ON_ERROR_STOP=1",
            "--dbname",
            database.name,
        ]
        command += ["--host", server.host, "--port", str(server.port), "--username", server.user]
        password = "PGPASSWORD"
    else:
        command = [server.programs["mariadb"], "--no-defaults", "--quick", "--skip-column-names", "--protocol=tcp"]
        command += [f"--host={server.host}", f"--port={server.port}", f"--user={server.user}"]
        command += ["--default-character-set=utf8mb4", database.name]
        password = "MYSQL_PWD"
    environment = {**server.programs.environment, password: server.password}
    return taken(command, environment=environment, statements=path, keep_output=keep_output)
