"""Samples that a sparse network loses and gains against the dense network of the same seed.

A lost sample is classified correctly by dense and wrongly by the method. A gained sample is the reverse. So gained
minus lost is the paired difference in accuracy. Two dense networks that differ in their seed alone also lose and gain
samples: the mean of both shares over all pairs of dense seeds is the noise floor.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import ARM_KEYS, DENSE, half_interval
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials, require_dense


def flips(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the share of samples that each sparse arm loses and gains against dense.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.

    Returns:
        One row per sparse arm: ARM_KEYS, ``n`` (pairs of equal seed), ``undertrained`` (pairs with an under-trained
        trial). For ``lost`` and ``gained`` (mean shares in [0, 1] of the samples that both evaluated) also ``_std``
        (ddof=1) and ``_interval`` (half of the mean's 95 % Student interval). ``floor``: share lost between two dense
        seeds, which equals the share gained over both orders; NaN with one dense seed. ``lost_above_floor`` and
        ``gained_above_floor``: the shares minus the floor.

    Raises:
        ValueError: No trial has outcomes, or no sparse trial has a dense partner of the same seed.
    """
    rows = compared_trials(matrix, trials)
    require_dense(rows)
    pairs = rows[rows["partner"] >= 0].reset_index(drop=True)
    if pairs.empty:
        raise ValueError("no sparse trial with per-sample outcomes has a dense partner of the same seed and comparison")
    dense = rows.loc[pairs["partner"]].reset_index(drop=True)
    shares = [lost_and_gained(matrix, *rows) for rows in zip(dense["row"], pairs["row"], strict=True)]
    pairs = pairs.assign(
        short=pairs["short"] | dense["short"], lost=[a for a, _ in shares], gained=[b for _, b in shares]
    )
    groups = pairs.groupby("arm")
    found = groups.agg(n=("lost", "count"), undertrained=("short", "sum"), group=("group", "first"))
    floors = {group: _floor(matrix, part) for group, part in rows[rows["sparsifier"] == DENSE].groupby("group")}
    found = found.assign(floor=found["group"].map(floors))
    for name in ("lost", "gained"):
        spread = groups[name].std()
        found[name], found[f"{name}_std"] = groups[name].mean(), spread
        found[f"{name}_interval"] = half_interval(spread, found["n"])
        found[f"{name}_above_floor"] = found[name] - found["floor"]
    keys = pairs.drop_duplicates("arm").set_index("arm")[list(ARM_KEYS)]
    return keys.join(found.drop(columns="group")).sort_values(list(ARM_KEYS), ignore_index=True)


def lost_and_gained(matrix: OutcomeMatrix, dense: int, other: int) -> tuple[float, float]:
    """Return the shares of samples that only row ``dense`` classifies correctly, and that only row ``other`` does.

    NaN if they evaluated no sample in common.
    """
    first, second = matrix.predictions[dense], matrix.predictions[other]
    both = (first != ABSENT) & (second != ABSENT)
    if not both.any():
        return np.nan, np.nan
    was, now = (predictions[both] == matrix.labels[both] for predictions in (first, second))
    return float((was & ~now).mean()), float((~was & now).mean())


def _floor(matrix: OutcomeMatrix, dense: pd.DataFrame) -> float:
    """Return the share lost from one dense seed to another, averaged over all ordered pairs. NaN with one seed."""
    shares = [lost_and_gained(matrix, *pair) for pair in combinations(dense["row"], 2)]
    return float(np.mean(shares)) if shares else float("nan")
