"""Reader of the table ``outcomes``: streamed, because ten thousand trials have a hundred million rows.

A trial has one small file per split. ``compact`` copies them into ``compacted/outcomes.parquet``, with several trials
per row group. The small files stay authoritative: the copy is only used for files that have not changed since.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from sparsweep.trainables.storage import schemas, tables
from sparsweep.trainables.storage.addresses import resolve_storage

T = TypeVar("T")

TABLE = "outcomes"
COPY = f"compacted/{TABLE}.parquet"
FILES_PER_GROUP = 16
"""Trials per row group of the copy. Readers skip whole row groups, and each takes a fixed time to open."""
_HELD = b"sparsweep.row_groups"


@dataclass(frozen=True)
class Copy:
    """The compacted copy.

    Attributes:
        path: Path in the file system.
        groups: For each row group, the files in it: name to [size, time of the last change].
    """

    path: str
    groups: Sequence[Mapping[str, Sequence[int]]]


def read_batches(
    storage: str,
    splits: str | Collection[str] | None = None,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the outcomes of some trials, some trials at a time. Damaged files are logged and left out.

    Args:
        storage: Local path or URI of the storage.
        splits: Names of splits. None: all.
        trials: Ids of trials. None: all.
        columns: Columns of the table ``outcomes``. None: all.

    Yields:
        Tables with these columns, in their declared types; ``trial`` and ``split`` are dictionary-encoded.
    """
    names = tuple(columns or schemas.SCHEMAS[TABLE].names)
    tables.check_columns(TABLE, names)
    left = _wanted_files(storage, splits, trials)
    filesystem, _ = resolve_storage(storage)
    copy = _open_copy(storage)
    if copy is not None:
        with contextlib.suppress(OSError, pa.ArrowException):  # a damaged copy: the rest is read from the small files
            yield from _read_copy(filesystem, copy, left, names)
    yield from _read_files(storage, list(left.values()), names)


def _wanted_files(
    storage: str, splits: str | Collection[str] | None, trials: Iterable[str] | None
) -> dict[str, fs.FileInfo]:
    """Return the files of the wanted splits and trials, by name ``TRIAL-SPLIT``, split by split."""
    of_split = {splits} if isinstance(splits, str) else splits
    of_trial = None if trials is None else set(trials)
    found: dict[str, fs.FileInfo] = {}
    for info in sorted(tables.list_files(storage, TABLE), key=lambda info: _split(info.base_name)):
        trial = tables.trial_in_file_name(info)
        if trial is None or (of_trial is not None and trial not in of_trial):
            continue
        if of_split is None or _split(info.base_name) in of_split:
            found[PurePosixPath(info.path).stem] = info
    return found


def _split(name: str) -> str:
    return name.removesuffix(".parquet").partition("-")[2]


# The copy ---------------------------------------------------------------------------------------------------------


def _open_copy(storage: str) -> Copy | None:
    filesystem, root = resolve_storage(storage)
    path = f"{root}/{COPY}"
    try:
        with filesystem.open_input_file(path) as file:
            metadata = pq.read_metadata(file)
        groups = json.loads(metadata.metadata[_HELD])
        return Copy(path, groups) if len(groups) == metadata.num_row_groups else None
    except (OSError, pa.ArrowException, LookupError, TypeError, ValueError):
        return None


def _read_copy(
    filesystem: fs.FileSystem, copy: Copy, left: dict[str, fs.FileInfo], names: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the rows of the files in ``left`` that the copy holds unchanged, and remove them from ``left``."""
    with (
        filesystem.open_input_file(copy.path) as file,
        pq.ParquetFile(file, read_dictionary=["trial", "split"], page_checksum_verification=True) as parquet,
    ):
        for number, held in enumerate(copy.groups):
            current = [name for name, state in held.items() if name in left and _state(left[name]) == list(state)]
            if not current:
                continue
            is_whole = len(current) == len(held)
            read = names if is_whole else tuple(dict.fromkeys((*names, "trial")))
            rows = parquet.read_row_group(number, columns=list(read), use_threads=False)
            if not is_whole:
                ids = pa.array([name.partition("-")[0] for name in current])
                rows = rows.filter(pc.is_in(rows["trial"].cast(pa.string()), ids))
            yield _declared(rows, names)
            for name in current:  # after the rows were read: a damaged row group is read from the small files
                del left[name]


def _state(info: fs.FileInfo) -> list[int]:
    return [info.size, info.mtime_ns]


def _declared(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the columns ``names`` with their declared types; ``trial`` and ``split`` stay dictionary-encoded."""
    columns = {}
    for name in names:
        column = rows[name]
        if name in ("trial", "split"):
            columns[name] = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        else:
            columns[name] = column.cast(schemas.SCHEMAS[TABLE].field(name).type)
    return pa.table(columns)


def _read_files(storage: str, infos: Sequence[fs.FileInfo], names: Sequence[str]) -> Iterator[pa.Table]:
    selection = tables.make_selection(TABLE, columns=names)

    def read(info: fs.FileInfo) -> pa.Table:
        rows, damaged = tables.read_files(storage, TABLE, [info], selection)
        for path in damaged:
            tables.warn_damaged(TABLE, path)
        return _declared(rows, names)

    with ThreadPoolExecutor() as readers:
        for some in _batches(infos):
            yield from (rows for rows in readers.map(read, some) if len(rows))


def compact(storage: str) -> tuple[int, int]:
    """Write the copy, and return its numbers of rows and files. Damaged files are logged and left out.

    Raises:
        OSError: The storage cannot be written.
    """
    filesystem, root = resolve_storage(storage)
    folder, _, name = f"{root}/{COPY}".rpartition("/")
    draft = f"{folder}/_{name}.{uuid.uuid4().hex}"
    filesystem.create_dir(folder)
    try:
        with filesystem.open_output_stream(draft) as sink:
            size = _write(storage, sink)
        filesystem.move(draft, f"{folder}/{name}")
    except OSError:
        with contextlib.suppress(OSError):
            filesystem.delete_file(draft)
        raise
    return size


def _write(storage: str, sink: Any) -> tuple[int, int]:
    """Write the copy of all files to ``sink``, one row group per :data:`FILES_PER_GROUP` files of one split."""
    infos = _wanted_files(storage, None, None)
    selection = tables.make_selection(TABLE)
    groups: list[dict[str, list[int]]] = []
    stored = schemas.as_stored(schemas.SCHEMAS[TABLE].empty_table()).schema
    rows = 0
    with (
        pq.ParquetWriter(sink, stored, **schemas.OUTCOME_OPTIONS) as writer,
        ThreadPoolExecutor() as readers,
    ):
        for names in _groups(infos):
            parts = list(readers.map(lambda name: tables.read_files(storage, TABLE, [infos[name]], selection), names))
            for _, damaged in parts:
                for path in damaged:
                    tables.warn_damaged(TABLE, path)
            whole = pa.concat_tables([part for part, _ in parts])
            if len(whole):
                writer.write_table(schemas.as_stored(whole), row_group_size=len(whole))
                groups.append({n: _state(infos[n]) for n, (_, lost) in zip(names, parts, strict=True) if not lost})
                rows += len(whole)
        writer.add_key_value_metadata({_HELD: json.dumps(groups)})
    return rows, sum(map(len, groups))


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield :data:`FILES_PER_GROUP` items at a time."""
    return (items[start : start + FILES_PER_GROUP] for start in range(0, len(items), FILES_PER_GROUP))


def _groups(names: Iterable[str]) -> Iterator[Sequence[str]]:
    """Yield up to :data:`FILES_PER_GROUP` names at a time, all of one split. ``names`` come split by split."""
    by_split: dict[str, list[str]] = {}
    for name in names:
        by_split.setdefault(_split(name), []).append(name)
    for of_split in by_split.values():
        yield from _batches(of_split)
