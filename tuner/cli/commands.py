"""Commands beside the course of a sweep: calibration, single trials, searches as studies, names, garbage."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sparsweep.tuner.cli.catalogue import catalogue, lines, reference, reference_lines
from sparsweep.tuner.cli.options import (
    AsJson,
    KindName,
    Onnx,
    Output,
    Overrides,
    Plugins,
    Storage,
    SweepName,
    TrialId,
    Where,
)
from sparsweep.tuner.cli.run import check_writable
from sparsweep.tuner.cli.session import open_marked_store, open_readable_sweeps, open_store, open_sweep
from sparsweep.tuner.errors import DEFAULT_STORAGE, WrongCall
from sparsweep.tuner.planning.trials import only_one
from sparsweep.tuner.terminal import say, tell


def calibrate(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="The trainings of which to measure.")] = "paper",
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Measure how fast this machine trains each kind of network in a sweep, so that plan knows hours."""
    from sparsweep.tuner.hardware.throughput import line, measure
    from sparsweep.tuner.planning.graph import build
    from sparsweep.tuner.planning.trials import points

    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    check_writable(store)  # before minutes of measuring
    for found in measure(build(points(described, store)).runs.values(), store, described.resources):
        say(line(found))


def trials(
    sweep: SweepName,
    where: Where = None,
    sort: Annotated[str | None, typer.Option(metavar="COLUMN", help="Order by a column, the largest first.")] = None,
    smallest_first: Annotated[bool, typer.Option("--smallest-first", help="Turn the order of --sort around.")] = False,
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all columns.")] = False,
    plugins: Plugins = [],
) -> None:
    """List the trials of a sweep: ids for show, logs and export, states, settings, accuracies."""
    from sparsweep.tuner.cli.result_tables import chosen_trials, trial_csv, trial_lines, trial_table

    if as_json and as_csv:
        raise WrongCall("--json, --csv: choose one of the two")
    table = chosen_trials(
        trial_table(*open_sweep(sweep, overrides, storage, as_it_was_run=True)), where, sort, smallest_first
    )
    if as_json:
        say(table.to_json(orient="records", date_format="iso"))
    else:
        say(trial_csv(table) if as_csv else trial_lines(table, where, sort))


def study(
    sweep: SweepName,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Default: SWEEP.db, in this folder.")] = None,
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Write a search as an Optuna study, to be opened in optuna-dashboard."""
    described, store = open_sweep(sweep, [], storage, as_it_was_run=True)
    if described.search is None:
        raise WrongCall(f"SWEEP {sweep!r}: it has grids and no search, so there is no study")
    from sparsweep.tuner.search.export_study import write

    say(f"optuna-dashboard {write(described, store, output)}")


def show(trial: TrialId, storage: Storage = DEFAULT_STORAGE, as_json: AsJson = False, plugins: Plugins = []) -> None:
    """Show one trial: its spec, its results and where its files are; of a failed one, its error."""
    from sparsweep.tuner.planning.status import describe, known_trials

    store = open_store(storage)
    facts = describe(only_one(trial, known_trials(store), "finished or failed trial", storage), store)
    if as_json:
        say(json.dumps(facts, default=str))
        return
    import yaml

    traceback = facts.get("failure", {}).pop("traceback", "")
    say((yaml.safe_dump(facts, sort_keys=False) + traceback).rstrip("\n"))


def logs(trial: TrialId, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show what a trial or another run said, wherever it ran: attempts, epochs, warnings, errors."""
    store = open_store(storage)
    found = only_one(trial, store.names("logs"), "log", storage)
    say((store.read(f"logs/{found}.txt") or b"").decode(errors="replace").rstrip("\n"))


def export(
    trial: TrialId, output: Output = None, onnx: Onnx = False, storage: Storage = DEFAULT_STORAGE, plugins: Plugins = []
) -> None:
    """Write the trained network of a trial as plain tensors and masks, to be used without this package."""
    from sparsweep.tuner.cli.exporting import write

    store = open_store(storage)
    say("\n".join(write(only_one(trial, store.finished(), "finished trial", storage), store, output, onnx)))


def gc(
    storage: Storage = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only shown.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Also the weights of finished trials.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Also the scores of training samples.")] = False,
    plugins: Plugins = [],
) -> None:
    """Show the artifacts and checkpoints that no sweep run here needs any more, and remove them if told to."""
    from sparsweep.tuner.planning.gc import collect, find, find_drafts, readable, refuse_running
    from sparsweep.tuner.state import sweep_record

    given_up = [kind for kind, chosen in (("weights", weights), ("scores", scores)) if chosen]
    store = open_marked_store(storage)
    refuse_running(store)
    sweeps, problems = open_readable_sweeps(sweep_record.recorded(store), storage)
    for line in problems:
        tell(f"{line}; all but drafts is kept")
    garbage = find_drafts(store) if problems else find(sweeps, store, given_up)
    say("\n".join(garbage.lines(store)))
    if yes:
        collect(garbage, store)
    say(f"{'removed' if yes else 'to remove with --yes'}: {readable(garbage.size)}; results are never removed")


def forget(
    trials: Annotated[
        list[str] | None, typer.Argument(metavar="[TRIAL...]", help="Ids, or beginnings of them.")
    ] = None,
    where: Where = None,
    storage: Storage = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without, they are only shown.")] = False,
    plugins: Plugins = [],
) -> None:
    """Show finished or failed trials and, if told to, remove what is stored of them: a run makes them again."""
    from sparsweep.tuner.cli.result_tables import finished_where
    from sparsweep.tuner.planning.forgetting import files_of, remove_files
    from sparsweep.tuner.planning.status import known_trials

    store = open_marked_store(storage)
    if bool(trials) == (where is not None):
        raise WrongCall("TRIAL or --where: give ids of trials, or a condition on finished ones, one of the two")
    if where is None:
        known = known_trials(store)
        chosen = [only_one(trial, known, "finished or failed trial", storage) for trial in trials or []]
    else:
        chosen = finished_where(where, store)
    files = files_of(chosen, store)
    count = sum(map(len, files.values()))
    say("\n".join([*chosen, f"{len(chosen)} trials ({count} files){'' if yes else ': to forget with --yes'}"]))
    if yes:
        remove_files(files, store)


def list_names(
    kind: KindName,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the fields of this one.")] = None,
    as_json: AsJson = False,
    plugins: Plugins = [],
) -> None:
    """List what a sweep file can name, a line each; of one by NAME, its source and its fields with defaults."""
    if name is None:
        rows = catalogue(kind)
        say(json.dumps(rows) if as_json else "\n".join(lines(rows)))
        return
    try:
        facts = reference(kind, name)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    say(json.dumps(facts) if as_json else "\n".join(reference_lines(facts)))
