"""Input of the figures of per-sample outcomes: the test split, at one sparsity per comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from sparsweep.analysis.groups import COMPARISON_KEYS, at_nearest_sparsity
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import NO_OUTCOMES

Outcomes = Mapping[str, Sequence[OutcomeMatrix]]
"""Outcomes by split, one matrix per data set."""

_PERCENT = {"mean": "accuracy_percent", "std": "std_percent", "interval": "interval_percent"}
_POINTS = {"difference": "difference_points", "low": "low_points", "high": "high_points"}


def table_of_test(
    analysis: Callable[[OutcomeMatrix, pd.DataFrame], pd.DataFrame],
    trials: pd.DataFrame,
    outcomes: Outcomes,
    sparsity: float | None = None,
) -> pd.DataFrame:
    """Return the rows of ``analysis(matrix, trials)`` of the test images of every data set.

    Args:
        analysis: Analysis of one data set.
        trials: Finished trials. Those without outcomes are left out.
        outcomes: Outcomes by split, one matrix per data set.
        sparsity: Of each comparison only dense and the nearest sparsity are used. None: all sparsities.

    Raises:
        ValueError: No trial has outcomes, or the analysis of every data set raises ValueError.
    """
    found, problems = [], [NO_OUTCOMES]
    for matrix in outcomes.get("test", ()):
        known = trials[trials["trial"].isin(matrix.trials)]
        if known.empty:
            continue
        try:
            found.append(analysis(matrix, known if sparsity is None else at_nearest_sparsity(known, sparsity)))
        except ValueError as error:
            problems.append(str(error))
    if not found:
        raise ValueError(problems[-1])
    return pd.concat(found, ignore_index=True)


def in_percent(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of ``pairing.summarise_groups`` in percent and percentage points, and ``at_sparsity``."""
    at = table.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("max")
    names = {**_PERCENT, **_POINTS}
    scaled = {name: 100 * table[name] for name in names}
    return table.assign(**scaled, at_sparsity=at).rename(columns=names)
