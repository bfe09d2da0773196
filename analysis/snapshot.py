"""One file instead of thousands: ``compacted/TABLE.parquet``, a copy of a table as it was last read or compacted.

A table has a file a trial, and ten thousand small files take half a minute to read, one large file half a second. The
files of the trials stay where they are and stay the truth: no storage can show one file in place of many in a single
step, so that taking them away would make one who reads the folder at that moment fail, miss rows or see some twice.
The copy appears whole or not at all, and is read here in one opening; who opens it twice, as pandas does, should do it
while nobody compacts. It is never needed: it is made anew when a file that it holds has changed or gone, extended when
many are new, and may be deleted at any time. Where the storage cannot be written there is none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sparsweep.trainables.storage import addresses, mark, schemas, tables

log = logging.getLogger(__name__)

REWRITE_AFTER = 64
"""New files from which on the copy is written again; fewer are read beside it."""

_FILES = b"sparsweep.files"
_ROW_GROUP = 50_000  # rows that are skipped or read together


def read(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: tables.Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """As ``reading.read``, through the copy."""
    infos = tables.list_files(storage, table)
    wanted = tables.make_selection(table, None if trials is None else set(trials), columns, filters)
    old, held = _copy(storage, table, infos, wanted)
    fresh = [info for info in infos if info.base_name not in held]
    if len(fresh) >= REWRITE_AFTER and _extend(storage, table, infos):
        old, held = _copy(storage, table, infos, wanted)
        fresh = [info for info in infos if info.base_name not in held]
    rows, damaged = tables.read_files(storage, table, fresh, wanted)
    return pa.concat_tables([old, rows]), damaged


def _copy(
    storage: str, table: str, infos: Sequence[fs.FileInfo], wanted: tables.Selection
) -> tuple[pa.Table, dict[str, list[int]]]:
    """The wanted rows of the copy and the files that it holds; nothing if it does not hold them as they are now."""
    filesystem, path = _path(storage, table)
    nothing = schemas.SCHEMAS[table].empty_table().select(wanted.columns)
    try:
        # Rows and list in one reading: another process may replace the copy at any moment.
        with filesystem.open_input_file(path) as file:
            found = pq.read_table(
                file, columns=list(wanted.columns), filters=wanted.where, page_checksum_verification=True
            )
        held: dict[str, list[int]] = json.loads(found.schema.metadata[_FILES])
        rows = found.select(wanted.columns).replace_schema_metadata(nothing.schema.metadata)
    except (FileNotFoundError, pa.ArrowInvalid, OSError, LookupError, TypeError, ValueError, RecursionError):
        return nothing, {}
    now = {info.base_name: _state(info) for info in infos}
    same = rows.schema.equals(nothing.schema) and all(now.get(name) == state for name, state in held.items())
    return (rows, held) if same else (nothing, {})


def _extend(storage: str, table: str, infos: Sequence[fs.FileInfo]) -> bool:
    """Write the copy again. Return False if the folder is not marked as a storage or cannot be written."""
    try:
        if not mark.is_marked(storage):
            raise PermissionError(f"{storage} is not marked as a storage")
        _write(storage, table, infos)
    except OSError as error:
        log.info("%s: no copy can be kept, every file is read: %s", _path(storage, table)[1], error)
        return False
    return True


def compact(storage: str, table: str) -> tuple[int, int]:
    """Write the copy of ``table`` now: rows and files that it holds. Damaged files are named in the log and left out.

    Whoever reads at the time, the files of the trials or an earlier copy, is not disturbed. OSError if the storage
    cannot be written.
    """
    return _write(storage, table, tables.list_files(storage, table))


def _write(storage: str, table: str, infos: Sequence[fs.FileInfo]) -> tuple[int, int]:
    """Write what the copy holds, and all other files that can be read, as a new copy."""
    everything = tables.make_selection(table)
    old, held = _copy(storage, table, infos, everything)
    fresh = [info for info in infos if info.base_name not in held]
    rows, damaged = tables.read_files(storage, table, fresh, everything)
    for file in damaged:
        tables.warn_damaged(table, file)
    whole = pa.concat_tables([old, rows])
    names = {**held, **{info.base_name: _state(info) for info in fresh if info.path not in damaged}}
    whole = whole.replace_schema_metadata({**whole.schema.metadata, _FILES: json.dumps(names)})
    filesystem, path = _path(storage, table)
    folder, _, name = path.rpartition("/")
    draft = f"{folder}/_{name}.{uuid.uuid4().hex}"
    try:
        filesystem.create_dir(folder)
        pq.write_table(
            whole, draft, filesystem=filesystem, compression="zstd", row_group_size=_ROW_GROUP, write_page_checksum=True
        )
        filesystem.move(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            filesystem.delete_file(draft)
        raise
    return len(whole), len(names)


def _state(info: fs.FileInfo) -> list[int]:
    """What tells whether a file has changed."""
    return [info.size, info.mtime_ns]


def _path(storage: str, table: str) -> tuple[fs.FileSystem, str]:
    filesystem, root = addresses.resolve_storage(storage)
    return filesystem, f"{root}/compacted/{table}.parquet"
