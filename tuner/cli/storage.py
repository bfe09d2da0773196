"""Commands that tidy a storage: compact, gc."""

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
    """Copy each table, a file a trial, into one file that reads fast; whoever reads or writes meanwhile goes on."""
    from sparsweep.analysis.snapshot import compact as copy
    from sparsweep.trainables.storage.schemas import SCHEMAS

    store = open_marked_store(storage)
    for table in SCHEMAS:
        rows, files = copy(store.storage, table)
        print_result(f"{store.uri(f'compacted/{table}.parquet')}: {rows} rows of {files} files")


def gc(
    storage: Storage = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only shown.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Also the weights of finished trials.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Also the scores of training samples.")] = False,
    plugins: Plugins = [],
) -> None:
    """Show the artifacts and checkpoints that no sweep run here needs any more, and remove them if told to."""
    from sparsweep.tuner.planning.gc import delete, find_temp_files, find_unused, format_bytes, refuse_running
    from sparsweep.tuner.state import sweep_record

    given_up = [kind for kind, chosen in (("weights", weights), ("scores", scores)) if chosen]
    store = open_marked_store(storage)
    refuse_running(store)
    sweeps, problems = open_readable_sweeps(sweep_record.list_sweeps(store), storage)
    for line in problems:
        print_message(f"{line}; all but drafts is kept")
    garbage = find_temp_files(store) if problems else find_unused(sweeps, store, given_up)
    print_result("\n".join(garbage.lines(store)))
    if yes:
        delete(garbage, store)
    print_result(
        f"{'removed' if yes else 'to remove with --yes'}: {format_bytes(garbage.size)}; results are never removed"
    )
