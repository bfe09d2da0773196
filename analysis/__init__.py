"""Parquet to numbers and pictures.

``load_trials`` and its siblings give pandas DataFrames, ``describe`` says what their columns mean, and
``analysis.figures`` draws them. Of our own code only ``trainables.records`` is imported, and for the images of one
figure ``trainables.data``; matplotlib is loaded with ``analysis.figures`` and not before.
"""

from analysis.load import describe, load_epochs, load_failures, load_layers, load_trials

__all__ = ["describe", "load_epochs", "load_failures", "load_layers", "load_trials"]
