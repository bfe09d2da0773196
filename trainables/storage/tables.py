"""Reading the result tables: what is sound in them, and the names of the files that are not."""

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
from sparsweep.trainables.storage.schemas import SCHEMAS, TABLES_VERSION, VERSION_KEY

JSON_COLUMNS = {"versions", *(f"{part}_parameters" for part in ("dataset", "model", "sparsifier", "difficulty"))}
"""Columns of ``trials`` that whoever compares trials parses: each is a JSON object, or null."""


log = logging.getLogger(__name__)


class TableVersionError(ValueError):
    """A file was written by a later version of this software, whose columns may mean something else."""


Filters = Sequence[Sequence[tuple[str, str, Any]]]
"""Alternatives, each of conditions that a row must all meet: ``[[("sparsity", ">=", 0.8)]]``, as pyarrow has them."""


def read_table(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """The rows of ``table`` (only ``trials``, ``columns`` and what meets ``filters``), and the files that are damaged.

    A damaged file costs its own rows, not the others. Columns that an older file does not have are null. ValueError
    on a column that is not declared; :class:`TableVersionError` on a file of a later version.
    """
    wanted = None if trials is None else set(trials)
    infos = list_files(storage, table)
    if wanted is not None:  # a file of one trial bears its name, a failure's also the attempt
        infos = [info for info in infos if (owner := trial_in_file_name(info)) is None or owner in wanted]
    return read_files(storage, table, infos, make_selection(table, wanted, columns, filters))


def list_files(storage: str, table: str) -> list[fs.FileInfo]:
    """The whole files of a table, by name; none if the table is not there."""
    filesystem, root = resolve_storage(storage)
    folder = fs.FileSelector(table_folder(root, table), allow_not_found=True)
    infos = filesystem.get_file_info(folder)
    whole = [info for info in infos if info.is_file and not info.base_name.startswith(("_", "."))]
    return sorted((info for info in whole if info.extension == "parquet"), key=lambda info: info.path)


def is_whole(filesystem: fs.FileSystem, info: fs.FileInfo) -> bool:
    """Return whether a Parquet file was written to its end, which its last bytes say.

    An object store has whole files or none, so there the size is enough and no request is made.
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
    """Return the trial whose rows alone are in a file, or None if its name does not say."""
    match = re.search(r"[0-9a-f]{16}", info.base_name)
    return match[0] if match and "/memberships/" not in info.path else None  # a sweep may be named like a trial


@dataclass(frozen=True)
class Selection:
    """Which ``columns`` of which rows: all, or those that meet ``where``, an expression over the columns ``asks``."""

    columns: tuple[str, ...]
    filter_columns: tuple[str, ...] = ()
    where: pc.Expression | None = None


def _typed(table: str, column: str, value: Any) -> Any:
    """Return what a filter compares ``column`` with; of a collection an array of its type, which an empty one lacks."""
    if not isinstance(value, (set, frozenset, list, tuple)):
        return value
    return pa.array(list(value), SCHEMAS[table].field(column).type)


def make_selection(
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> Selection:
    """What to read of ``table``; ValueError that names the choices on a column that is not declared."""
    names = SCHEMAS[table].names
    of_trials = [] if trials is None else [("trial", "in", set(trials))]
    groups = [[*group, *of_trials] for group in filters or [[]]]
    chosen, asks = tuple(columns or names), tuple(dict.fromkeys(name for group in groups for name, _, _ in group))
    check_columns(table, (*chosen, *asks))
    groups = [[(name, op, _typed(table, name, value)) for name, op, value in group] for group in groups]
    return Selection(chosen, asks, pq.filters_to_expression(groups) if asks else None)


def check_columns(table: str, names: Iterable[str]) -> None:
    """Raise ValueError, which names the choices, on a column that is not declared."""
    for name in names:
        if name not in SCHEMAS[table].names:
            raise ValueError(f"{table}: unknown column {name!r}; choose from {', '.join(SCHEMAS[table].names)}")


def read_files(storage: str, table: str, infos: Iterable[fs.FileInfo], wanted: Selection) -> tuple[pa.Table, list[str]]:
    """As :func:`read`, of the given files."""
    filesystem, _ = resolve_storage(storage)

    def part(info: fs.FileInfo) -> pa.Table | str:
        try:
            return _read_file(filesystem, info, table, wanted)
        except TableVersionError:
            raise
        except (pa.ArrowException, ValueError, OSError):
            return info.path

    with ThreadPoolExecutor(_READERS) as readers:  # Arrow reads outside Python's lock
        parts = list(readers.map(part, infos))
    whole = [found for found in parts if isinstance(found, pa.Table)]
    empty = SCHEMAS[table].empty_table().select(wanted.columns)
    rows = _without_infinities(pa.concat_tables([empty, *whole]))
    return rows, [found for found in parts if isinstance(found, str)]


_READERS = 8


def _without_infinities(rows: pa.Table) -> pa.Table:
    """Return ``rows`` with null for what is not a finite number: as a mean or a rate it would spoil all others."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            column = rows.column(place)
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
            rows = rows.set_column(place, field, finite)
    return rows


def _read_file(filesystem: fs.FileSystem, info: fs.FileInfo, table: str, wanted: Selection) -> pa.Table:
    path = info.path
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        version = int((parquet.schema_arrow.metadata or {}).get(VERSION_KEY, TABLES_VERSION))
        if version > TABLES_VERSION:
            raise TableVersionError(
                f"{path}: tables of version {version}; this sparsweep reads up to {TABLES_VERSION}: update it"
            )
        _check_owner(parquet, table, info)
        # First what is asked about, so that of a file without such rows nothing else is read.
        if wanted.where is not None and not len(_columns(parquet, table, wanted.filter_columns).filter(wanted.where)):
            return SCHEMAS[table].empty_table().select(wanted.columns)
        found = _columns(parquet, table, tuple(dict.fromkeys((*wanted.columns, *wanted.filter_columns))))
    return (found if wanted.where is None else found.filter(wanted.where)).select(wanted.columns)


def _check_owner(parquet: pq.ParquetFile, table: str, info: fs.FileInfo) -> None:
    """Raise ArrowInvalid if a file does not hold what its name says: a copy of another file, or other rows."""
    if "trial" not in parquet.schema_arrow.names:
        raise pa.ArrowInvalid("not one of our tables: it has no column trial")
    owner = trial_in_file_name(info)
    if owner is None:
        return
    if not re.fullmatch(rf"{owner}(-\d+)?\.parquet", info.base_name):
        raise pa.ArrowInvalid(f"a copy of the file of {owner} under another name")
    trials = parquet.read(["trial"], use_threads=False)["trial"].to_pylist()
    if set(trials) - {owner} or (table == "trials" and len(trials) != 1):
        raise pa.ArrowInvalid(f"rows of other trials than {owner}, or not one row")


def _columns(parquet: pq.ParquetFile, table: str, names: Sequence[str]) -> pa.Table:
    """The columns as declared; those that the file does not have are null."""
    there = set(parquet.schema_arrow.names)
    found = parquet.read([name for name in names if name in there], use_threads=False)
    rows = parquet.metadata.num_rows
    fields = [SCHEMAS[table].field(name) for name in names]
    schema = pa.schema(fields, metadata=SCHEMAS[table].metadata)
    arrays = [found[f.name].cast(f.type) if f.name in there else pa.nulls(rows, f.type) for f in fields]
    columns = pa.table(arrays, schema=schema)
    columns.validate(full=True)  # text that is not UTF-8
    for name in JSON_COLUMNS & set(columns.column_names):
        for text in columns[name].to_pylist():
            if text is not None and not isinstance(parse_json(text), dict):
                raise pa.ArrowInvalid(f"{name} is no JSON object")
    return columns


def parse_json(text: str | bytes | None) -> Any:
    """The value in ``text``, None if that is damaged: no JSON, or nested too deeply to be read."""
    try:
        return json.loads(text or b"null")
    except (ValueError, RecursionError):
        return None


@cache
def warn_damaged(table: str, path: str) -> None:
    """Name a damaged file in the log, once a process."""
    log.warning("%s: a damaged file is left out, a resume of its sweep makes it again: %s", table, path)


def newest_failures(storage: str) -> dict[str, dict[str, Any]]:
    """The newest row of ``failures`` for each trial."""
    table, _ = read_table(storage, "failures")
    rows = [row for row in table.to_pylist() if None not in (row["at"], row["attempt"])]
    return {row["trial"]: row for row in sorted(rows, key=lambda row: (row["at"], row["attempt"]))}


def read_scores(storage: str, runs: Iterable[str]) -> tuple[pa.Table, list[str]]:
    """Scores of the training samples by scoring ``runs``, and the files that are damaged or of another run.

    A row a run, score and sample: ``run``, ``name`` of the score, ``sample`` (index), ``label``, ``score``. Runs
    without scores are left out.
    """
    filesystem, root = resolve_storage(storage)
    wanted, parts, damaged = set(runs), [_SCORES.empty_table()], []
    folder = fs.FileSelector(f"{root}/artifacts/scores", allow_not_found=True)
    for info in sorted(filesystem.get_file_info(folder), key=lambda info: info.path):
        run, _, name = info.base_name.removesuffix(".parquet").partition("-")
        if run not in wanted or not name or info.extension != "parquet":
            continue
        try:
            with filesystem.open_input_file(info.path) as file:
                found = scores_in(file)
            if run_of_scores(found) not in ("", run):
                raise pa.ArrowInvalid("of another run")
            columns = [pa.array([run] * len(found)), pa.array([name] * len(found)), *found.columns]
            parts.append(pa.table(columns, names=_SCORES.names).cast(_SCORES))
        except (pa.ArrowException, OSError):
            damaged.append(info.path)
    return pa.concat_tables(parts), damaged


OWNER_KEY, CODE_KEY = b"sparsweep.run", b"sparsweep.code"
"""Where a file of scores names its run and the code that made it (see ``provenance``), in its schema's metadata."""


def scores_in(file: Any) -> pa.Table:
    """The columns ``sample``, ``label`` (whole numbers) and ``score`` of a file that a scoring run left.

    Raises:
        pyarrow.ArrowException: It is no whole Parquet file, or has no such columns.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        kinds = [(field.name, field.type) for field in parquet.schema_arrow]
        if kinds != [(field.name, field.type) for field in _SCORES][2:]:
            raise pa.ArrowInvalid(f"its columns are {', '.join(f'{name} ({kind})' for name, kind in kinds)}")
        return parquet.read()


def run_of_scores(scores: pa.Table) -> str:
    """The run that a file of scores names, empty in files of earlier versions."""
    return (scores.schema.metadata or {}).get(OWNER_KEY, b"").decode(errors="replace")


def code_of_scores(scores: pa.Table) -> str:
    """The code that made ``scores``, as the column ``code`` has it; empty where the file does not say."""
    return (scores.schema.metadata or {}).get(CODE_KEY, b"").decode(errors="replace")


_SCORES = pa.schema(
    {"run": pa.string(), "name": pa.string(), "sample": pa.int64(), "label": pa.int64(), "score": pa.float64()}
)
