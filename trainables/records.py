"""The result tables and where in a storage they lie (their columns: ``schemas``).

Every table is a folder of Parquet files, one a trial until compacted, that pandas, DuckDB and Polars read at any
moment: a file appears whole or not at all, and names that begin with ``_`` are files being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from trainables.schemas import TABLES, TABLES_VERSION, VERSION_KEY

__all__ = ["TABLES", "TABLES_VERSION", "VERSION_KEY", "build", "resolve", "table_folder", "to_parquet"]


def resolve(storage: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the absolute root of a storage.

    Args:
        storage: A local path, or a URI such as ``s3://bucket/folder``.

    Raises:
        ValueError: ``storage`` is empty: it would stand for whatever folder the process is in.
    """
    if not storage.strip():
        raise ValueError(f"storage is empty (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    if "://" in storage:
        filesystem, root = fs.FileSystem.from_uri(storage)
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), str(Path(storage).expanduser().resolve())


def table_folder(root: str, table: str) -> str:
    return f"{root}/results/{table}"


def build(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the declared schema; KeyError on a column that is not declared or not given."""
    schema, rows = TABLES[table], list(rows)
    for row in rows:
        if row.keys() != set(schema.names):
            raise KeyError(f"{table}: columns {sorted(row.keys() ^ set(schema.names))} are missing or not declared")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file whose pages have checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())
