"""How much two networks agree in their predictions, and how much of the disagreement is due to the seed alone.

Churn is the share of samples whose predictions differ (Milani Fard et al., 2016, "Launch and iterate: reducing
prediction churn"). Cohen's kappa (1960) is the agreement beyond chance, (p - e) / (1 - e): p is the share of equal
predictions, and e is that share if both networks drew from their own class frequencies independently.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import ARM_KEYS, DENSE, METHOD_KEYS
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials

OTHER_KEYS: tuple[str, ...] = tuple(f"other_{name}" for name in (*METHOD_KEYS, "sparsity"))


def churn_and_kappa(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return churn in [0, 1] and Cohen's kappa in [-1, 1] of two predictions uint16 (N,).

    Samples that one of them did not evaluate are left out. Churn is NaN without samples, kappa also if both always
    predict the same single class.
    """
    known = (first != ABSENT) & (second != ABSENT)
    first, second = first[known], second[known]
    if not len(first):
        return np.nan, np.nan
    classes = int(max(first.max(), second.max())) + 1
    equal = float((first == second).mean())
    chance = float(np.bincount(first, minlength=classes) @ np.bincount(second, minlength=classes)) / len(first) ** 2
    return 1 - equal, (equal - chance) / (1 - chance) if chance < 1 else np.nan


def agreement(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return churn and kappa between methods at equal seed, and between seeds of one method (the baseline).

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.

    Returns:
        One row per pair of arms of one comparison, both orders: ARM_KEYS, OTHER_KEYS, ``n`` (pairs of trials),
        ``undertrained`` (pairs with an under-trained trial), ``churn``, ``kappa`` (means over pairs). Arms are paired
        if their sparsities are equal or one is dense. An arm is paired with itself if it has two seeds: these pairs
        are of different seeds.

    Raises:
        ValueError: No trial has outcomes, or no two trials can be compared.
    """
    rows = compared_trials(matrix, trials)
    found = [row for _, group in rows.groupby("group") for row in _of_comparison(matrix, group)]
    if not found:
        raise ValueError("no two trials with per-sample outcomes are of one comparison and seed, or of one method")
    means = pd.DataFrame(found).groupby(["arm", "other_arm"])
    table = means.agg(
        n=("churn", "size"), undertrained=("short", "sum"), churn=("churn", "mean"), kappa=("kappa", "mean")
    )
    arms = rows.drop_duplicates("arm").set_index("arm")[list(ARM_KEYS)]
    others = arms[[*METHOD_KEYS, "sparsity"]].set_axis(list(OTHER_KEYS), axis=1)
    whole = table.reset_index().merge(arms, left_on="arm", right_index=True)
    whole = whole.merge(others, left_on="other_arm", right_index=True)
    columns = [*ARM_KEYS, *OTHER_KEYS, "n", "undertrained", "churn", "kappa"]
    return whole[columns].sort_values([*ARM_KEYS, *OTHER_KEYS], ignore_index=True)


def _of_comparison(matrix: OutcomeMatrix, group: pd.DataFrame) -> Iterator[dict[str, float]]:
    """Yield the churn and kappa of each pair of trials of one comparison."""
    for first, second in combinations(group.to_dict("records"), 2):
        if not _are_compared(first, second):
            continue
        churn, kappa = churn_and_kappa(matrix.predictions[first["row"]], matrix.predictions[second["row"]])
        short = first["short"] or second["short"]
        arms = {(first["arm"], second["arm"]), (second["arm"], first["arm"])}
        for arm, other in arms:
            yield {"arm": arm, "other_arm": other, "churn": churn, "kappa": kappa, "short": short}


def _are_compared(first: dict[Hashable, Any], second: dict[Hashable, Any]) -> bool:
    if first["arm"] == second["arm"]:
        return True
    same = first["sparsity"] == second["sparsity"] or DENSE in (first["sparsifier"], second["sparsifier"])
    return same and first["seed"] == second["seed"]
