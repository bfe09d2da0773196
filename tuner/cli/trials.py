"""Commands for single trials: trials, show, logs, export, forget."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sparsweep.tuner.cli.options import (
    AsJson,
    Onnx,
    Output,
    Overrides,
    Plugins,
    Storage,
    SweepName,
    TrialId,
    Where,
)
from sparsweep.tuner.cli.session import open_marked_store, open_store, open_sweep_as_run, resolve_id_prefix
from sparsweep.tuner.errors import DEFAULT_STORAGE, UsageError
from sparsweep.tuner.terminal import print_result


def trials(
    sweep: SweepName,
    where: Where = None,
    sort: Annotated[str | None, typer.Option(metavar="COLUMN", help="Sort by a column, largest value first.")] = None,
    smallest_first: Annotated[
        bool, typer.Option("--smallest-first", help="Sort with the smallest value first.")
    ] = False,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all columns.")] = False,
    plugins: Plugins = [],
) -> None:
    """List the trials of a sweep with ids (for show, logs and export), states, settings and accuracies."""
    from sparsweep.tuner.cli.result_tables import chosen_trials, trial_csv, trial_lines, trial_table

    if as_json and as_csv:
        raise UsageError("--json, --csv: cannot be combined. Choose one.")
    table = chosen_trials(trial_table(*open_sweep_as_run(sweep, overrides, storage)), where, sort, smallest_first)
    if as_json:
        print_result(table.to_json(orient="records", date_format="iso"))
    else:
        print_result(trial_csv(table) if as_csv else trial_lines(table, where, sort))


def show(trial: TrialId, storage: Storage = DEFAULT_STORAGE, as_json: AsJson = False, plugins: Plugins = []) -> None:
    """Show the spec, the results and the file paths of a trial, or the error of a failed trial."""
    from sparsweep.tuner.planning.status import known_runs, trial_details

    store = open_store(storage)
    facts = trial_details(resolve_id_prefix(trial, known_runs(store), "finished or failed trial", storage), store)
    if as_json:
        print_result(json.dumps(facts, default=str))
        return
    import yaml

    traceback = facts.get("failure", {}).pop("traceback", "")
    print_result((yaml.safe_dump(facts, sort_keys=False) + traceback).rstrip("\n"))


def logs(trial: TrialId, storage: Storage = DEFAULT_STORAGE) -> None:
    """Print the log of a trial or another run: attempts, epochs, warnings and errors."""
    store = open_store(storage)
    run = resolve_id_prefix(trial, store.list_ids("logs"), "log", storage)
    print_result((store.read(f"logs/{run}.txt") or b"").decode(errors="replace").rstrip("\n"))


def export(
    trial: TrialId, output: Output = None, onnx: Onnx = False, storage: Storage = DEFAULT_STORAGE, plugins: Plugins = []
) -> None:
    """Export the trained network of a trial as plain tensors and masks that load without sparsweep."""
    from sparsweep.tuner.cli.exporting import write

    store = open_store(storage)
    print_result(
        "\n".join(write(resolve_id_prefix(trial, store.finished(), "finished trial", storage), store, output, onnx))
    )


def forget(
    trials: Annotated[
        list[str] | None, typer.Argument(metavar="[TRIAL...]", help="Trial ids, or unique prefixes.")
    ] = None,
    where: Where = None,
    storage: Storage = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Delete the files. Default: only list the trials.")] = False,
    plugins: Plugins = [],
) -> None:
    """List finished or failed trials. With --yes, delete their results; the next run repeats them."""
    from sparsweep.tuner.cli.result_tables import finished_where
    from sparsweep.tuner.planning.forgetting import files_of, remove_files
    from sparsweep.tuner.planning.status import known_runs

    store = open_marked_store(storage)
    if bool(trials) == (where is not None):
        raise UsageError("TRIAL, --where: exactly one is needed. Give trial ids, or a condition on finished trials.")
    if where is None:
        known = known_runs(store)
        chosen = [resolve_id_prefix(trial, known, "finished or failed trial", storage) for trial in trials or []]
    else:
        chosen = finished_where(where, store)
    files = files_of(chosen, store)
    count = sum(map(len, files.values()))
    print_result("\n".join([*chosen, f"{len(chosen)} trials ({count} files){'' if yes else ': to forget with --yes'}"]))
    if yes:
        remove_files(files, store)
