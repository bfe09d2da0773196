"""Commands that clean up a storage: compact, gc."""

from __future__ import annotations

from typing import Annotated

import typer

from sparsweep.tuner.cli.options import (
    Plugins,
    Storage,
)
from sparsweep.tuner.cli.session import (
    open_marked_store,
    open_readable_sweeps,
)
from sparsweep.tuner.errors import DEFAULT_STORAGE
from sparsweep.tuner.terminal import print_message, print_result


def compact(storage: Storage = DEFAULT_STORAGE) -> None:
    """Copy each table (one file per trial) into a single file for fast reading. Safe during a run."""
    from sparsweep.analysis.snapshot import compact as copy
    from sparsweep.trainables.storage.schemas import SCHEMAS

    store = open_marked_store(storage)
    for table in SCHEMAS:
        rows, files = copy(store.storage, table)
        print_result(f"{store.uri(f'compacted/{table}.parquet')}: {rows} rows from {files} files")


def gc(
    storage: Storage = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Delete the files. Default: only list them.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Include the weights of finished trials.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Include the scores of training samples.")] = False,
    plugins: Plugins = [],
) -> None:
    """List the artifacts and checkpoints that no sweep in this storage needs. With --yes, delete them."""
    from rich.filesize import decimal

    from sparsweep.tuner.planning.gc import delete, find_temp_files, find_unused, refuse_running
    from sparsweep.tuner.state import sweep_record

    discarded = [kind for kind, chosen in (("weights", weights), ("scores", scores)) if chosen]
    store = open_marked_store(storage)
    refuse_running(store)
    sweeps, problems = open_readable_sweeps(sweep_record.list_sweeps(store), storage)
    for line in problems:
        print_message(f"{line} (gc removes only temporary files because of this error)")
    garbage = find_temp_files(store) if problems else find_unused(sweeps, store, discarded)
    print_result("\n".join(garbage.lines(store)))
    if yes:
        delete(garbage, store)
    verb = "removed" if yes else "to remove with --yes"
    print_result(f"{verb}: {decimal(garbage.size)} (results are never removed)")
