"""Input of the figures of per-sample outcomes: the test split, at one sparsity per comparison."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sparsweep.analysis.groups import COMPARISON_KEYS, at_nearest_sparsity
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import NO_OUTCOMES

Outcomes = Mapping[str, OutcomeMatrix]
"""Outcomes by split."""

_PERCENT = {"mean": "accuracy_percent", "std": "std_percent", "interval": "interval_percent"}
_POINTS = {"difference": "difference_points", "low": "low_points", "high": "high_points"}


def of_test(trials: pd.DataFrame, outcomes: Outcomes) -> tuple[OutcomeMatrix, pd.DataFrame]:
    """Return the outcomes on the test images, and the trials that have some.

    Raises:
        ValueError: No trial has outcomes.
    """
    if "test" not in outcomes:
        raise ValueError(NO_OUTCOMES)
    matrix = outcomes["test"]
    known = trials[trials["trial"].isin(matrix.trials)]
    if known.empty:
        raise ValueError(NO_OUTCOMES)
    return matrix, known


def of_test_at(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float) -> tuple[OutcomeMatrix, pd.DataFrame]:
    """Return the same, of each comparison only dense and the sparsity nearest to ``sparsity``."""
    matrix, known = of_test(trials, outcomes)
    return matrix, at_nearest_sparsity(known, sparsity)


def in_percent(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of ``pairing.summarise_groups`` in percent and percentage points, and ``at_sparsity``."""
    at = table.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("max")
    names = {**_PERCENT, **_POINTS}
    scaled = {name: 100 * table[name] for name in names}
    return table.assign(**scaled, at_sparsity=at).rename(columns=names)
