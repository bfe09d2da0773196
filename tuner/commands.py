"""Commands beside the course of a sweep: what this machine can do, and a search for optuna-dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.opening import DEFAULT_STORAGE, WrongCall, open_sweep
from tuner.options import Overrides, Plugins, Storage, SweepName


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
    for found in measure(build(points(described, store)).runs.values(), store, described.resources):
        print(line(found), flush=True)


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

    print(f"optuna-dashboard {write(described, store, output)}")
