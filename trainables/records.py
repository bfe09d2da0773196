"""The result tables and where in a storage they lie (their columns: ``schemas``).

Every table is a folder of Parquet files, one a trial until compacted, that pandas, DuckDB and Polars read at any
moment: a file appears whole or not at all, and names that begin with ``_`` are files being written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from trainables.schemas import FLOAT, INT, TABLES, TABLES_VERSION, TEXT, VERSION_KEY


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


class NewerTables(ValueError):
    """A file was written by a later version of this software, whose columns may mean something else."""


Filters = Sequence[Sequence[tuple[str, str, Any]]]
"""Alternatives, each of conditions that a row must all meet: ``[[("sparsity", ">=", 0.8)]]``, as pyarrow has them."""


def read(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """The rows of ``table`` (only ``trials``, ``columns`` and what meets ``filters``), and the files that are damaged.

    A damaged file costs its own rows, not the others. Columns that an older file does not have are null. ValueError
    on a column that is not declared; :class:`NewerTables` on a file of a later version.
    """
    wanted = None if trials is None else set(trials)
    infos = files(storage, table)
    if wanted is not None:  # a file of one trial bears its name, a failure's also the attempt
        infos = [info for info in infos if (owner := _owner(info)) is None or owner in wanted]
    return read_files(storage, table, infos, selection(table, wanted, columns, filters))


def files(storage: str, table: str) -> list[fs.FileInfo]:
    """The whole files of a table, by name; none if the table is not there."""
    filesystem, root = resolve(storage)
    folder = fs.FileSelector(table_folder(root, table), allow_not_found=True)
    infos = filesystem.get_file_info(folder)
    whole = [info for info in infos if info.extension == "parquet" and not info.base_name.startswith(("_", "."))]
    return sorted(whole, key=lambda info: info.path)


def _owner(info: fs.FileInfo) -> str | None:
    """The trial whose rows alone are in a file; None if its name does not say."""
    match = re.match(r"([0-9a-f]{16})(-|\.)", info.base_name)
    return match[1] if match else None


@dataclass(frozen=True)
class Selection:
    """Which ``columns`` of which rows: all, or those that meet ``where``, an expression over the columns ``asks``."""

    columns: tuple[str, ...]
    asks: tuple[str, ...] = ()
    where: pc.Expression | None = None


def selection(
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> Selection:
    """What to read of ``table``; ValueError that names the choices on a column that is not declared."""
    names = TABLES[table].names
    of_trials = [] if trials is None else [("trial", "in", set(trials))]
    groups = [[*group, *of_trials] for group in filters or [[]]]
    chosen, asks = tuple(columns or names), tuple(dict.fromkeys(name for group in groups for name, _, _ in group))
    check_columns(table, (*chosen, *asks))
    return Selection(chosen, asks, pq.filters_to_expression(groups) if asks else None)


def check_columns(table: str, names: Iterable[str]) -> None:
    """Raise ValueError, which names the choices, on a column that is not declared."""
    for name in names:
        if name not in TABLES[table].names:
            raise ValueError(f"{table}: unknown column {name!r}; choose from {', '.join(TABLES[table].names)}")


def read_files(storage: str, table: str, infos: Iterable[fs.FileInfo], wanted: Selection) -> tuple[pa.Table, list[str]]:
    """As :func:`read`, of the given files."""
    filesystem, _ = resolve(storage)

    def part(info: fs.FileInfo) -> pa.Table | str:
        try:
            return _read_file(filesystem, info.path, table, wanted)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
            return info.path

    with ThreadPoolExecutor(_READERS) as readers:  # Arrow reads outside Python's lock
        parts = list(readers.map(part, infos))
    whole = [found for found in parts if isinstance(found, pa.Table)]
    empty = TABLES[table].empty_table().select(wanted.columns)
    return pa.concat_tables([empty, *whole]), [found for found in parts if isinstance(found, str)]


_READERS = 8


def _read_file(filesystem: fs.FileSystem, path: str, table: str, wanted: Selection) -> pa.Table:
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        version = int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, TABLES_VERSION))
        if version > TABLES_VERSION:
            raise NewerTables(
                f"{path}: tables of version {version}; this sparsweep reads up to {TABLES_VERSION}: update it"
            )
        # First what is asked about, so that of a file without such rows nothing else is read.
        if wanted.where is not None and not len(_columns(parquet, table, wanted.asks).filter(wanted.where)):
            return TABLES[table].empty_table().select(wanted.columns)
        found = _columns(parquet, table, tuple(dict.fromkeys((*wanted.columns, *wanted.asks))))
    return (found if wanted.where is None else found.filter(wanted.where)).select(wanted.columns)


def _columns(parquet: pq.ParquetFile, table: str, names: Sequence[str]) -> pa.Table:
    """The columns as declared; those that the file does not have are null."""
    there = set(parquet.schema_arrow.names)
    if "trial" not in there:
        raise pa.ArrowInvalid("not one of our tables: it has no column trial")
    found = parquet.read([name for name in names if name in there], use_threads=False)
    rows = parquet.metadata.num_rows
    fields = [TABLES[table].field(name) for name in names]
    schema = pa.schema(fields, metadata=TABLES[table].metadata)
    arrays = [found[f.name].cast(f.type) if f.name in there else pa.nulls(rows, f.type) for f in fields]
    return pa.table(arrays, schema=schema)


def read_scores(storage: str, runs: Iterable[str]) -> tuple[pa.Table, list[str]]:
    """Scores of the training samples by scoring ``runs``, and the files that are damaged.

    A row a run, score and sample: ``run``, ``name`` of the score, ``sample`` (index), ``label``, ``score``. Runs
    without scores are left out.
    """
    filesystem, root = resolve(storage)
    wanted, parts, damaged = set(runs), [_SCORES.empty_table()], []
    folder = fs.FileSelector(f"{root}/artifacts/scores", allow_not_found=True)
    for info in sorted(filesystem.get_file_info(folder), key=lambda info: info.path):
        run, _, name = info.base_name.removesuffix(".parquet").partition("-")
        if run not in wanted or not name or info.extension != "parquet":
            continue
        try:
            with filesystem.open_input_file(info.path) as file:
                found = pq.read_table(file, columns=["sample", "label", "score"], page_checksum_verification=True)
            columns = [pa.array([run] * len(found)), pa.array([name] * len(found)), *found.columns]
            parts.append(pa.table(columns, names=_SCORES.names).cast(_SCORES))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
            damaged.append(info.path)
    return pa.concat_tables(parts), damaged


_SCORES = pa.schema([("run", TEXT), ("name", TEXT), ("sample", INT), ("label", INT), ("score", FLOAT)])
