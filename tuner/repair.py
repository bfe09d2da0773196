"""Results that cannot be read: removed before a sweep is resumed, so that their trials are made again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePosixPath

from trainables import reading
from trainables.store import Store

TABLES = ("trials", "epochs", "layers")
"""The tables of a finished trial. Its row in the first one marks it as finished, so that one is removed first."""


def remove_damaged_results(trials: Iterable[str], store: Store) -> list[str]:
    """Remove all rows of those of ``trials`` of which a file is damaged. Return their ids.

    The rows in ``trials`` are read whole, with their checksums; of the longer tables what shows that a file is whole.
    """
    wanted = set(trials)
    rows, paths = reading.read(store.storage, "trials", wanted)
    for table in TABLES[1:]:
        paths += reading.read(store.storage, table, wanted, ["trial"])[1]
    without_spec = {row["trial"] for row in rows.select(["trial", "spec"]).to_pylist() if not _is_spec(row["spec"])}
    damaged = sorted(({PurePosixPath(path).stem for path in paths} & wanted) | without_spec)
    for trial in damaged:
        for table in TABLES:
            store.delete(store.result_path(table, trial))
    return damaged


def _is_spec(text: str | None) -> bool:
    try:
        content = json.loads(text or "")
    except ValueError:
        return False
    return isinstance(content, dict) and content.keys() >= {"kind", "spec"}
