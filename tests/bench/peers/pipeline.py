"""The program that dlt's users write, run in dlt's own environment: URL TABLE BACKEND DESTINATION FOLDER."""

from __future__ import annotations

import sys

import dlt  # type: ignore[import-not-found]  # lives in an environment of its own
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found]  # the same

url, table, backend, destination, folder = sys.argv[1:]
parquet = destination == "parquet"
rows = sql_table(
    credentials=url,
    table=table,
    backend=backend,
    incremental=dlt.sources.incremental("updated_at"),
    primary_key="customer_id",
    write_disposition="append" if parquet else "merge",
)
# The database is not called as the dataset is, or DuckDB could not tell catalog and schema apart.
pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.filesystem(f"file://{folder}")
    if parquet
    else dlt.destinations.duckdb(f"{folder}/rows.duckdb"),
    dataset_name="bench",
    pipelines_dir=f"{folder}/state",
)
# dlt's choice for DuckDB, but for the sqlalchemy backend, whose rows it would write as INSERT statements.
pipeline.run(rows, loader_file_format="parquet")
