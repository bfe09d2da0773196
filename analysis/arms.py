"""Which trials are replicates of each other, and which are compared: the keys of every figure and claim.

Seeds are replicates. Two trials of one seed that agree in COMPARISON share initial weights, subset and order, so a
method is compared with dense within each seed. All functions are pure; values keep their unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import stats

DENSE = "dense"

DATA: tuple[str, ...] = ("dataset", "dataset_parameters", "model", "model_parameters")
"""What is learnt, and by which network."""

SETTING: tuple[str, ...] = (
    *DATA,
    "difficulty",
    "difficulty_parameters",
    "profile",
    "epochs",
    "batch_size",
    "lr",
    "milestones",
    "gamma",
    "momentum",
    "nesterov",
    "weight_decay",
    "crop_padding",
    "flip",
    "rotation",
    "drop_last",
    "precision",
)
"""What is held fixed while a figure goes through data ratios, methods and sparsities."""

# Not evaluation_every: how often a network is looked at does not change the network at the end.
COMPARISON: tuple[str, ...] = (*SETTING, "data_ratio")
"""What two trials must share to be arms of one comparison."""

METHOD: tuple[str, ...] = ("sparsifier", "sparsifier_parameters")
ARM: tuple[str, ...] = (*COMPARISON, *METHOD, "sparsity")
"""What trials share that differ in nothing but the seed."""


def replicates(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """The rows of ``trials`` in which ``value`` is known, one for each arm and seed."""
    # A seed that stands twice (evaluated more often, or trained again by later code) is still one replicate.
    return trials[trials[value].notna()].sort_values("trial").drop_duplicates([*ARM, "seed"])


def summarise(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """A row for each arm: ARM, ``n`` seeds, ``mean`` and sample standard deviation ``std`` (ddof=1, NaN if n = 1)."""
    groups = replicates(trials, value).groupby(list(ARM), dropna=False)[value]
    return groups.agg(n="count", mean="mean", std="std").reset_index()


def pair_with_dense(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """A row for each sparse trial whose dense partner is there: ARM, ``seed``, ``value``, ``dense``, ``difference``.

    A seed that only one of the two arms has is left out.
    """
    rows = replicates(trials, value)
    is_dense = rows["sparsifier"] == DENSE
    dense = rows.loc[is_dense, [*COMPARISON, "seed", value]].rename(columns={value: "dense"})
    sparse = rows.loc[~is_dense, [*ARM, "seed", value]].rename(columns={value: "value"})
    pairs = sparse.merge(dense, on=[*COMPARISON, "seed"], validate="many_to_one")
    return pairs.assign(difference=pairs["value"] - pairs["dense"])


def paired_differences(
    trials: pd.DataFrame,
    value: str = "test_accuracy",
    level: float = 0.95,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """A row for each sparse arm with a dense partner: ARM and the columns of ``stats.of_groups``.

    They are the number of pairs, the mean of arm minus dense with its interval, and p-values before and after Holm's
    correction over all arms that are given: a figure passes those that it shows.
    """
    pairs = pair_with_dense(trials, value)
    return stats.of_groups(pairs, "difference", list(ARM), level, generator)


def complete(summary: pd.DataFrame, observed: pd.DataFrame) -> pd.DataFrame:
    """``summary`` with a row for every point of the grid: what is missing has ``n`` = 0 and NaN.

    The grid of a setting is every data ratio, method and sparsity that ``observed`` (rows of trials) shows in it,
    crossed, so a sparsity that is missing from all of ``observed`` cannot be told from one that nobody asked for.
    """
    grids = []
    for _, rows in observed.groupby(list(SETTING), dropna=False):
        grid = rows[list(SETTING)].head(1)
        for axis in (["data_ratio"], list(METHOD), ["sparsity"]):
            grid = grid.merge(rows[axis].drop_duplicates().sort_values(axis), how="cross")
        grids.append(grid)
    if not grids:
        return summary.copy()
    whole = pd.concat(grids, ignore_index=True).merge(summary, how="left", on=list(ARM))
    return whole.assign(n=whole["n"].fillna(0).astype(int))


def near_sparsity(trials: pd.DataFrame, wanted: float, within: Sequence[str] = COMPARISON) -> pd.DataFrame:
    """Dense, and of the sparse trials those at the sparsity that is nearest to ``wanted`` in each comparison.

    Of two that are equally near, the lower one.
    """
    sparse = trials[trials["sparsifier"] != DENSE]
    distance = (sparse["sparsity"] - wanted).abs().round(9)
    order = sparse.assign(distance=distance).sort_values(["distance", "sparsity"])
    nearest = order.groupby(list(within), dropna=False)["sparsity"].transform("first")
    chosen = order.index[order["sparsity"] == nearest]
    return trials[trials.index.isin(chosen) | (trials["sparsifier"] == DENSE)]
