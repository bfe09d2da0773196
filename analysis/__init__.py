"""Parquet to numbers and pictures.

``load_trials`` and its siblings give pandas DataFrames, ``analysis.figures`` draws them. Of our own code only
``trainables.records`` is imported; matplotlib is loaded with ``analysis.figures`` and not before.
"""

from analysis.load import load_epochs, load_failures, load_layers, load_trials

__all__ = ["load_epochs", "load_failures", "load_layers", "load_trials"]
