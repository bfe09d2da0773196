"""The result tables and where in a storage they lie (their columns: ``schemas``).

Every table is a folder of Parquet files, one a trial until compacted, that pandas, DuckDB and Polars read at any
moment: a file appears whole or not at all, and names that begin with ``_`` are files being written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sparsweep.trainables.local_files import expanded
from sparsweep.trainables.schemas import TABLES, TABLES_VERSION, VERSION_KEY

__all__ = ["TABLES", "TABLES_VERSION", "VERSION_KEY", "build", "hurried", "resolve", "table_folder", "to_parquet"]

SCHEMES = ("s3", "gs", "gcs", "file")
HURRY_SECONDS = 5
"""How long Google's library tries again under a hurried address; otherwise it takes a quarter of an hour."""


def resolve(storage: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the absolute root of a storage.

    Args:
        storage: A local path, or a URI such as ``s3://bucket/folder``.

    Raises:
        ValueError: ``storage`` is empty (it would stand for whatever folder the process is in), an address of another
            kind or with one slash missing, or in a home folder that is not known.
        OSError: The bucket's region cannot be asked for.
    """
    if not storage.strip():
        raise ValueError(f"storage is empty (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    scheme, slashes = re.match(r"(?:([A-Za-z][\w+.-]+):(/*))?", storage).groups()  # type: ignore[union-attr]
    if slashes == "/":
        raise ValueError(f"a slash is missing after {scheme}:/ (got {storage!r}). Addresses begin with s3:// or gs://.")
    if slashes and scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// is unknown (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    if slashes:
        filesystem, root = fs.FileSystem.from_uri(storage)
        if scheme != "file" and not root.strip("/"):
            raise ValueError(f"no bucket is named (got {storage!r}). Addresses are {scheme}://BUCKET/FOLDER.")
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), os.path.realpath(expanded(storage))


def hurried(storage: str) -> str:
    """Return the address of ``storage`` under which an unreachable one is given up within seconds."""
    if not storage.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in storage:
        return storage
    return f"{storage}{'&' if '?' in storage else '?'}retry_limit_seconds={HURRY_SECONDS}"


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
