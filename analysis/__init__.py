"""Parquet to numbers and pictures.

``load_trials`` and its siblings give pandas DataFrames, ``describe`` says what their columns mean, and
``analysis.figures`` draws them. Of our own code only ``trainables.storage`` is imported, and for the images of one
figure ``trainables.data``; matplotlib is loaded with ``analysis.figures`` and not before.
"""

import importlib.util
import os

from sparsweep.analysis.load import describe, load_epochs, load_failures, load_layers, load_trials

__all__ = ["describe", "load_epochs", "load_failures", "load_layers", "load_trials"]


def _leave_missing_backend() -> None:
    """Unset MPLBACKEND where it names a module that is not installed: matplotlib could not even be imported.

    Processes that a notebook starts inherit that of its kernel. No figure here needs a backend.
    """
    scheme, _, module = os.environ.get("MPLBACKEND", "").partition("://")
    if scheme == "module" and importlib.util.find_spec(module.partition(".")[0]) is None:
        del os.environ["MPLBACKEND"]


_leave_missing_backend()
