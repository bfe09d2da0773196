"""``sparsweep study``: a search for optuna-dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.opening import DEFAULT_STORAGE, WrongCall, open_sweep
from tuner.options import Plugins, Storage, SweepName


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
