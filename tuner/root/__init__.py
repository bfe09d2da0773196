"""Sweeps that compare sparse and dense networks on hard training samples, from Python.

``sparsweep.load_sweep("smoke").run()`` runs what ``sparsweep run smoke`` runs. ``sparsweep.train`` trains one trial in
this process. The loaders return the result tables as pandas DataFrames. A name is imported on first use, because the
command also imports this package and must start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsweep.analysis.load import (
        describe,
        load_epochs,
        load_failures,
        load_layers,
        load_ood,
        load_outcomes,
        load_shifts,
        load_trials,
    )
    from sparsweep.trainables.specs.trial import TrialSpec
    from sparsweep.tuner.api.results import SweepResults
    from sparsweep.tuner.api.sweep import LoadedSweep, load_sweep
    from sparsweep.tuner.api.training import TrainedTrial, train
    from sparsweep.tuner.errors import UsageError

__all__ = [
    "LoadedSweep",
    "SweepResults",
    "TrainedTrial",
    "TrialSpec",
    "UsageError",
    "describe",
    "load_epochs",
    "load_failures",
    "load_layers",
    "load_ood",
    "load_outcomes",
    "load_shifts",
    "load_sweep",
    "load_trials",
    "train",
]

_LOADERS = ("describe", "epochs", "failures", "layers", "ood", "outcomes", "shifts", "trials")
_MODULES = {
    **{name if name == "describe" else f"load_{name}": "sparsweep.analysis.load" for name in _LOADERS},
    "LoadedSweep": "sparsweep.tuner.api.sweep",
    "SweepResults": "sparsweep.tuner.api.results",
    "TrainedTrial": "sparsweep.tuner.api.training",
    "TrialSpec": "sparsweep.trainables.specs.trial",
    "UsageError": "sparsweep.tuner.errors",
    "load_sweep": "sparsweep.tuner.api.sweep",
    "train": "sparsweep.tuner.api.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sparsweep")
    if name not in _MODULES:
        raise AttributeError(f"module 'sparsweep' has no attribute {name!r}. It has: {', '.join(__all__)}.")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
