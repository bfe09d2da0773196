"""Parquet to figures, statistics and verdicts.

``load_trials`` and its siblings return pandas DataFrames. ``describe`` returns the meaning of their columns.
``analysis.figures`` draws them and imports matplotlib; nothing else here does.
"""

import importlib.util
import os

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

__all__ = [
    "describe",
    "load_epochs",
    "load_failures",
    "load_layers",
    "load_ood",
    "load_outcomes",
    "load_shifts",
    "load_trials",
]


def _leave_missing_backend() -> None:
    """Unset MPLBACKEND if it names a module that is not installed. Otherwise the import of matplotlib fails.

    A process that a notebook starts inherits the variable from its kernel. No figure here needs a backend.
    """
    scheme, _, module = os.environ.get("MPLBACKEND", "").partition("://")
    if scheme == "module" and importlib.util.find_spec(module.partition(".")[0]) is None:
        del os.environ["MPLBACKEND"]


_leave_missing_backend()
