"""Reader of the result tables. It returns the rows of all valid files, and the paths of damaged files."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from sparsweep.trainables.storage.addresses import resolve_storage, table_folder
from sparsweep.trainables.storage.schemas import SCHEMAS, TABLES_VERSION, VERSION_KEY, file_pattern

JSON_COLUMNS = {"versions", *(f"{part}_parameters" for part in ("dataset", "model", "sparsifier", "difficulty"))}
"""Columns of ``trials`` with a JSON object or null. The reader checks them, because callers parse them."""


log = logging.getLogger(__name__)


class TableVersionError(ValueError):
    """Error for a file of a later version of this package, whose columns can have another meaning."""


Filters = Sequence[Sequence[tuple[str, str, Any]]]
"""Row filter in pyarrow's form: OR of ANDs of conditions, e.g. ``[[("sparsity", ">=", 0.8)]]``."""


def read_table(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """Return the rows of a table, and the paths of damaged files. Other files are not affected by a damaged one.

    Args:
        storage: Local path or address of the storage.
        table: Name of the table.
        trials: Ids of the trials to read. Default: all.
        columns: Columns to return. Default: all. Columns that an older file lacks are null.
        filters: Conditions on the rows. Default: none.

    Raises:
        ValueError: A column is not declared.
        TableVersionError: A file was written by a later version.
    """
    wanted = None if trials is None else set(trials)
    infos = list_files(storage, table)
    if wanted is not None:  # a file of one trial has its id in the name; a failure also has the attempt
        infos = [info for info in infos if (owner := trial_in_file_name(info)) is None or owner in wanted]
    return read_files(storage, table, infos, make_selection(table, wanted, columns, filters))


def list_files(storage: str, table: str) -> list[fs.FileInfo]:
    """Return the finished files of a table, sorted by path. Empty if the table does not exist.

    Args:
        storage: Local path or address of the storage.
        table: Name of the table.
    """
    filesystem, root = resolve_storage(storage)
    folder = fs.FileSelector(table_folder(root, table), allow_not_found=True)
    infos = filesystem.get_file_info(folder)
    files = [info for info in infos if info.is_file and not info.base_name.startswith(("_", "."))]
    return sorted((info for info in files if info.extension == "parquet"), key=lambda info: info.path)


def is_whole(filesystem: fs.FileSystem, info: fs.FileInfo) -> bool:
    """Return whether a Parquet file is complete, judged by its size and its last bytes.

    An object store never has partial files, so the size is enough there and no request is sent.

    Args:
        filesystem: File system of the file.
        info: The file.
    """
    if not info.is_file or not info.size:
        return False
    if not isinstance(filesystem, fs.LocalFileSystem):
        return True
    with open(info.path, "rb") as file:
        file.seek(max(0, info.size - len(_PARQUET_END)))
        return file.read() == _PARQUET_END


_PARQUET_END = b"PAR1"


def trial_in_file_name(info: fs.FileInfo) -> str | None:
    """Return the id of the one trial with rows in a file, or None if the file name has no id."""
    match = re.search(r"[0-9a-f]{16}", info.base_name)
    return match[0] if match and "/memberships/" not in info.path else None  # a sweep's name can look like an id


@dataclass(frozen=True)
class Selection:
    """Columns and rows to read.

    Attributes:
        columns: Columns to return.
        filter_columns: Columns that ``where`` uses.
        where: Condition on the rows. None: all rows.
    """

    columns: tuple[str, ...]
    filter_columns: tuple[str, ...] = ()
    where: pc.Expression | None = None


def _typed(table: str, column: str, value: Any) -> Any:
    """Return the value of a condition. Convert a collection to an Arrow array, because an empty one has no type."""
    if not isinstance(value, (set, frozenset, list, tuple)):
        return value
    return pa.array(list(value), SCHEMAS[table].field(column).type)


def make_selection(
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> Selection:
    """Return the selection for the arguments of :func:`read_table`.

    Args:
        table: Name of the table.
        trials: Ids of the trials. Default: all.
        columns: Columns to return. Default: all.
        filters: Conditions on the rows. Default: none.

    Raises:
        ValueError: A column is not declared. The message lists all columns.
    """
    names = SCHEMAS[table].names
    of_trials = [] if trials is None else [("trial", "in", set(trials))]
    groups = [[*group, *of_trials] for group in filters or [[]]]
    chosen, used = tuple(columns or names), tuple(dict.fromkeys(name for group in groups for name, _, _ in group))
    check_columns(table, (*chosen, *used))
    groups = [[(name, op, _typed(table, name, value)) for name, op, value in group] for group in groups]
    return Selection(chosen, used, pq.filters_to_expression(groups) if used else None)


def check_columns(table: str, names: Iterable[str]) -> None:
    """Raise ValueError if one of ``names`` is not a column of ``table``. The message lists all columns."""
    for name in names:
        if name not in SCHEMAS[table].names:
            raise ValueError(f"{table}: unknown column {name!r}; choose from {', '.join(SCHEMAS[table].names)}")


def read_files(storage: str, table: str, infos: Iterable[fs.FileInfo], wanted: Selection) -> tuple[pa.Table, list[str]]:
    """Return the selected rows of the given files, and the paths of damaged files.

    Args:
        storage: Local path or address of the storage.
        table: Name of the table.
        infos: The files.
        wanted: Columns and rows to read.

    Raises:
        TableVersionError: A file was written by a later version.
    """
    filesystem, _ = resolve_storage(storage)

    def part(info: fs.FileInfo) -> pa.Table | str:
        try:
            return _read_file(filesystem, info, table, wanted)
        except TableVersionError:
            raise
        except (pa.ArrowException, ValueError, OSError):
            return info.path

    with ThreadPoolExecutor(_READERS) as readers:  # Arrow releases the GIL while it reads
        parts = list(readers.map(part, infos))
    valid = [result for result in parts if isinstance(result, pa.Table)]
    empty = SCHEMAS[table].empty_table().select(wanted.columns)
    rows = _without_infinities(pa.concat_tables([empty, *valid]))
    return rows, [result for result in parts if isinstance(result, str)]


_READERS = 8


def _without_infinities(rows: pa.Table) -> pa.Table:
    """Replace infinities and NaN by null: one such value would make every mean infinite or NaN."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            column = rows.column(index)
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
            rows = rows.set_column(index, field, finite)
    return rows


def _read_file(filesystem: fs.FileSystem, info: fs.FileInfo, table: str, wanted: Selection) -> pa.Table:
    path = info.path
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        version = int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, TABLES_VERSION))
        if version > TABLES_VERSION:
            raise TableVersionError(
                f"{path}: tables of version {version}, this sparsweep reads up to {TABLES_VERSION}. Update sparsweep."
            )
        _check_owner(parquet, table, info)
        # Read the filter columns first: if no row matches, no other column is read.
        if wanted.where is not None and not len(_columns(parquet, table, wanted.filter_columns).filter(wanted.where)):
            return SCHEMAS[table].empty_table().select(wanted.columns)
        rows = _columns(parquet, table, tuple(dict.fromkeys((*wanted.columns, *wanted.filter_columns))))
    return (rows if wanted.where is None else rows.filter(wanted.where)).select(wanted.columns)


def _check_owner(parquet: pq.ParquetFile, table: str, info: fs.FileInfo) -> None:
    """Raise ArrowInvalid if the content does not match the file name (a copied file, or rows of other trials)."""
    if "trial" not in parquet.schema_arrow.names:
        raise pa.ArrowInvalid("not a result table: it has no column trial")
    owner = trial_in_file_name(info)
    if owner is None:
        return
    if not re.fullmatch(file_pattern(table, owner), info.base_name):
        raise pa.ArrowInvalid(f"a copy of the file of {owner} under another name")
    trials = parquet.read(["trial"], use_threads=False)["trial"].to_pylist()
    if set(trials) - {owner} or (table == "trials" and len(trials) != 1):
        raise pa.ArrowInvalid(f"must have exactly one row of {owner} in trials, and no rows of other trials")


def _columns(parquet: pq.ParquetFile, table: str, names: Sequence[str]) -> pa.Table:
    """Return the columns with their declared types. Columns that the file lacks are null."""
    present = set(parquet.schema_arrow.names)
    stored = parquet.read([name for name in names if name in present], use_threads=False)
    num_rows = parquet.metadata.num_rows
    fields = [SCHEMAS[table].field(name) for name in names]
    schema = pa.schema(fields, metadata=SCHEMAS[table].metadata)
    arrays = [stored[f.name].cast(f.type) if f.name in present else pa.nulls(num_rows, f.type) for f in fields]
    columns = pa.table(arrays, schema=schema)
    columns.validate(full=True)  # finds text that is not UTF-8
    for name in JSON_COLUMNS & set(columns.column_names):
        for text in columns[name].to_pylist():
            if text is not None and not isinstance(parse_json(text), dict):
                raise pa.ArrowInvalid(f"{name} is not a JSON object")
    return columns


def parse_json(text: str | bytes | None) -> Any:
    """Return the value in ``text``, or None if it is invalid JSON or nested too deeply."""
    try:
        return json.loads(text or b"null")
    except (ValueError, RecursionError):
        return None


@cache
def warn_damaged(table: str, path: str) -> None:
    """Log the path of a damaged file, once per process."""
    log.warning("%s: damaged file skipped. Resume its sweep to create it again: %s", table, path)


def newest_failures(storage: str) -> dict[str, dict[str, Any]]:
    """Return the newest row of ``failures`` for each trial, by id."""
    table, _ = read_table(storage, "failures")
    rows = [row for row in table.to_pylist() if None not in (row["at"], row["attempt"])]
    return {row["trial"]: row for row in sorted(rows, key=lambda row: (row["at"], row["attempt"]))}
