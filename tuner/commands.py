"""Commands beside the course of a sweep: calibration, searches as studies, logs, exports, garbage."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.opening import DEFAULT_STORAGE, WrongCall, only_one, open_store, open_sweep
from tuner.options import Onnx, Output, Overrides, Plugins, Storage, SweepName, TrialId
from tuner.running import check_writable
from tuner.terminal import say, tell


def calibrate(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="The trainings of which to measure.")] = "paper",
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Measure how fast this machine trains each kind of network in a sweep, so that plan knows hours."""
    from tuner.calibrate import line, measure
    from tuner.graph import build
    from tuner.points import points

    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    check_writable(store)  # before minutes of measuring
    for found in measure(build(points(described, store)).runs.values(), store, described.resources):
        say(line(found))


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
    from tuner.dashboard import write

    say(f"optuna-dashboard {write(described, store, output)}")


def logs(trial: TrialId, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show what a trial or another run said, wherever it ran: attempts, epochs, warnings, errors."""
    store = open_store(storage)
    found = only_one(trial, store.names("logs"), "log", storage)
    say((store.read(f"logs/{found}.txt") or b"").decode(errors="replace").rstrip("\n"))


def export(
    trial: TrialId, output: Output = None, onnx: Onnx = False, storage: Storage = DEFAULT_STORAGE, plugins: Plugins = []
) -> None:
    """Write the trained network of a trial as plain tensors and masks, to be used without this package."""
    from tuner.exporting import write

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
    from tuner.gc import collect, find_here, readable

    given_up = [kind for kind, chosen in (("weights", weights), ("scores", scores)) if chosen]
    garbage, store, problems = find_here(storage, given_up)
    for line in problems:
        tell(line)
    say("\n".join(garbage.lines(store)))
    if yes:
        collect(garbage, store)
    say(f"{'removed' if yes else 'to remove with --yes'}: {readable(garbage.size)}; results are never removed")
