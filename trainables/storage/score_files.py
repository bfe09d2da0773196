"""Score files: one Parquet file per scoring run and score, with one row per training sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sparsweep.trainables.storage.addresses import resolve_storage

_SCORES = pa.schema(
    {"run": pa.string(), "name": pa.string(), "sample": pa.int64(), "label": pa.int64(), "score": pa.float64()}
)

OWNER_KEY, CODE_KEY = b"sparsweep.run", b"sparsweep.code"
"""Keys of the schema's metadata: id of the run, and the code that computed the scores (see ``provenance``)."""


def read_scores(storage: str, runs: Iterable[str]) -> tuple[pa.Table, list[str]]:
    """Return the scores of scoring runs, and the paths of files that are damaged or of another run.

    The table has one row per run, score and sample, with the columns ``run``, ``name`` (of the score), ``sample``
    (index), ``label`` and ``score``. Runs without scores have no rows.

    Args:
        storage: Local path or address of the storage.
        runs: Ids of the scoring runs.
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
                scores = scores_in(file)
            if run_of_scores(scores) not in ("", run):
                raise pa.ArrowInvalid("it belongs to another run")
            columns = [pa.array([run] * len(scores)), pa.array([name] * len(scores)), *scores.columns]
            parts.append(pa.table(columns, names=_SCORES.names).cast(_SCORES))
        except (pa.ArrowException, OSError):
            damaged.append(info.path)
    return pa.concat_tables(parts), damaged


def scores_in(file: Any) -> pa.Table:
    """Return the columns ``sample`` (int64), ``label`` (int64) and ``score`` (float64) of a score file.

    Raises:
        pyarrow.ArrowException: The file is damaged, or has other columns.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        kinds = [(field.name, field.type) for field in parquet.schema_arrow]
        if kinds != [(field.name, field.type) for field in _SCORES][2:]:
            columns = ", ".join(f"{name} ({kind})" for name, kind in kinds)
            raise pa.ArrowInvalid(f"the columns must be sample, label and score (got {columns})")
        return parquet.read()


def run_of_scores(scores: pa.Table) -> str:
    """Return the id of the run in the metadata of a score file. Files of earlier versions have none: empty."""
    return (scores.schema.metadata or {}).get(OWNER_KEY, b"").decode(errors="replace")


def code_of_scores(scores: pa.Table) -> str:
    """Return the code in the metadata of a score file, in the format of the column ``code``. Empty if absent."""
    return (scores.schema.metadata or {}).get(CODE_KEY, b"").decode(errors="replace")
