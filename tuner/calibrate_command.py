"""``sparsweep calibrate``: measures what ``plan`` then knows of speed."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.opening import DEFAULT_STORAGE, open_sweep
from tuner.options import Overrides, Plugins, Storage


def calibrate(
    sweep: Annotated[str, typer.Argument(metavar="[SWEEP]", help="The trainings of which to measure.")] = "paper",
    overrides: Overrides = [],
    storage: Storage = DEFAULT_STORAGE,
    plugins: Plugins = [],
) -> None:
    """Measure how fast this machine trains each kind of network in a sweep, so that plan knows hours."""
    from tuner.calibrate import line, measure
    from tuner.graph import build
    from tuner.suggestions import points

    described, store = open_sweep(sweep, overrides, storage, as_it_was_run=False)
    for found in measure(build(points(described, store)).runs.values(), store, described.resources.cpus):
        print(line(found), flush=True)
