"""Accuracy per class, and the class that a network learns worst.

Pruning can hurt some classes far more than the mean (Hooker et al., 2019, arXiv 1911.05248; Tran et al., 2022, "Pruning
has a disparate impact on model accuracy", arXiv 2205.13574).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import ARM_KEYS
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials, summarise_groups


def class_accuracy(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each arm on each class, and its difference to dense.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.

    Returns:
        One row per arm and ``label`` (number of the class), with the columns of ``pairing.summarise_groups``.

    Raises:
        ValueError: No trial has outcomes.
    """
    rows = compared_trials(matrix, trials)
    classes, values = _accuracies(matrix, rows["row"].to_numpy())
    return summarise_groups(rows, values, "label", classes.tolist())


def worst_class(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the class of the lowest accuracy per trial, of equal ones the smallest number. Same arguments and errors.

    Returns:
        One row per trial: ARM_KEYS, ``seed``, ``trial``, ``label``, ``worst_accuracy`` and ``accuracy`` (over all
        samples) in [0, 1].
    """
    rows = compared_trials(matrix, trials)
    chosen = rows["row"].to_numpy()
    classes, values = _accuracies(matrix, chosen)
    worst = np.where(np.isnan(values), np.inf, values).argmin(axis=1)
    evaluated = matrix.evaluated[chosen].sum(axis=1)
    found = rows[[*ARM_KEYS, "seed", "trial"]].assign(
        label=classes[worst],
        worst_accuracy=values[np.arange(len(rows)), worst],
        accuracy=matrix.correct[chosen].sum(axis=1) / np.where(evaluated, evaluated, 1),
    )
    return found.sort_values([*ARM_KEYS, "seed"], ignore_index=True)


def _accuracies(matrix: OutcomeMatrix, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, int64 (K,) ascending, and the accuracy of trials ``chosen`` on each, float64 (R, K).

    NaN: the trial evaluated no sample of the class.
    """
    classes, places = np.unique(matrix.labels, return_inverse=True)
    found = np.full((len(chosen), len(classes)), np.nan)
    correct, evaluated = matrix.correct, matrix.evaluated
    for place, row in enumerate(chosen):
        count = np.bincount(places, evaluated[row], len(classes))
        found[place] = np.bincount(places, correct[row], len(classes)) / np.where(count, count, np.nan)
    return classes.astype(np.int64), found
