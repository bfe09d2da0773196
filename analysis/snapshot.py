"""One file instead of thousands: ``compacted/TABLE.parquet``, a copy of a table for fast reading.

A table has one file per trial. Ten thousand small files take half a minute to read, one large file half a second. The
trial files stay and stay authoritative: no storage can replace many files by one in a single step, so a reader could
miss rows or see some twice. The copy is written atomically and read with a single open. It is never required: it is
rebuilt if one of its files changed, extended if many are new, and may be deleted at any time. A storage that cannot be
written has none. Read it once per analysis (pandas opens a file twice) if another process may compact meanwhile.
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

from sparsweep.analysis import outcome_files
from sparsweep.trainables.storage import addresses, mark, schemas, tables

log = logging.getLogger(__name__)

REWRITE_AFTER = 64
"""Number of new files that triggers a rewrite. Fewer are read beside the copy."""

_FILES = b"sparsweep.files"
_ROW_GROUP = 50_000  # rows that are skipped or read together


def read(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: tables.Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """Read a table as ``tables.read_table`` does, through the copy."""
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
    """Return the selected rows of the copy and the files in it. Empty if a file has changed since."""
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
    """Rewrite the copy. Return False if the storage has no mark or cannot be written."""
    try:
        if not mark.is_marked(storage):
            raise PermissionError(f"{storage} is not marked as a storage")
        _write(storage, table, infos)
    except OSError as error:
        log.info("%s: no copy can be kept, every file is read: %s", _path(storage, table)[1], error)
        return False
    return True


def compact(storage: str, table: str) -> tuple[int, int]:
    """Write the copy of ``table`` now, and return its numbers of rows and files. Damaged files are logged and left out.

    Readers are not disturbed, neither of trial files nor of an earlier copy.

    Raises:
        OSError: The storage cannot be written.
    """
    if table == outcome_files.TABLE:
        return outcome_files.compact(storage)
    return _write(storage, table, tables.list_files(storage, table))


def _write(storage: str, table: str, infos: Sequence[fs.FileInfo]) -> tuple[int, int]:
    """Write a new copy from the rows of the old one and from all other readable files."""
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
    """Return what changes when a file changes."""
    return [info.size, info.mtime_ns]


def _path(storage: str, table: str) -> tuple[fs.FileSystem, str]:
    filesystem, root = addresses.resolve_storage(storage)
    return filesystem, f"{root}/compacted/{table}.parquet"
