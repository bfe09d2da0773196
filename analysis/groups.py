"""Which trials are replicates, and which are compared: the keys of every figure and claim.

Seeds are replicates. Two trials of one seed with equal COMPARISON_KEYS share initial weights, subset and batch order.
So each method is compared with dense within each seed. All functions are pure; values keep their unit.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import t as student

from sparsweep.analysis import stats
from sparsweep.analysis.convergence import is_undertrained

DENSE = "dense"

DATA_KEYS: tuple[str, ...] = ("dataset", "dataset_parameters", "model", "model_parameters")
"""Data set and network."""

SETTING_KEYS: tuple[str, ...] = (
    *DATA_KEYS,
    "difficulty",
    "difficulty_parameters",
    "profile",
    "epochs",
    "step_budget",
    "batch_size",
    "optimizer",
    "lr",
    "schedule",
    "warmup",
    "milestones",
    "gamma",
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "crop_padding",
    "flip",
    "rotation",
    "drop_last",
    "precision",
)
"""What stays fixed while data ratio, method and sparsity vary in a figure."""

# Not evaluation_every: how often a network is looked at does not change the network at the end.
COMPARISON_KEYS: tuple[str, ...] = (*SETTING_KEYS, "data_ratio")
"""What two arms of one comparison share."""

METHOD_KEYS: tuple[str, ...] = ("sparsifier", "sparsifier_parameters")
ARM_KEYS: tuple[str, ...] = (*COMPARISON_KEYS, *METHOD_KEYS, "sparsity")
"""What trials share that differ only in their seed."""

SPARSE = 0.25
"""Fraction of a full grid below which trials count as a search."""
MOST_STEPS = 12
"""Largest number of sparsities, over all methods, of a grid whose methods share none."""


FORMER: dict[str, str | float] = {"optimizer": "sgd", "schedule": "steps", "warmup": 0.0}
"""Values of trials of a version that had no such fields."""


def normalize_keys(trials: pd.DataFrame) -> pd.DataFrame:
    """Return ``trials`` with keys in types that group and merge despite missing values, and with new row numbers."""
    # A column of true, false and nothing, or of nothing alone, is of another type each time pandas copies it.
    known = {name: trials[name].where(trials[name].notna(), value) for name, value in FORMER.items()}
    booleans = dict.fromkeys(("nesterov", "flip", "drop_last"), "boolean")
    typed = trials.assign(**known).astype(booleans).reset_index(drop=True)
    chains = typed["sparsifier_parameters"].str.contains('"through":').fillna(False).astype(bool)
    if not chains.any():
        return typed
    rows = typed.loc[chains, ["sparsifier_parameters", "sparsity"]].itertuples(index=False)
    typed.loc[chains, "sparsifier_parameters"] = [canonical_lth_parameters(*row) for row in rows]
    return typed


@cache
def canonical_lth_parameters(parameters: str, sparsity: float) -> str:
    """Return the JSON of a lottery ticket's fields without those that follow from its sparsity.

    The sparsities of earlier rounds differ at every point of a curve. Evenly spaced rounds are described by their
    number alone; all others are a chain through the sparsities of a grid.
    """
    fields = json.loads(parameters)
    through = fields.pop("through", None)
    if not isinstance(through, list) or not all(isinstance(step, float) for step in through):
        return parameters  # of another method of that name, or damaged: it is compared with none
    rounds = len(through) + 1
    even = [1 - (1 - sparsity) ** (number / rounds) for number in range(1, rounds)]
    if fields.get("rounds") != rounds or not np.allclose(through, even, atol=1e-5):
        fields["rounds"] = "through lower sparsities"
    return json.dumps(fields, separators=(",", ":"))


def replicates(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Return the rows with a known ``value``, one per arm and seed."""
    # A seed that stands twice (evaluated more often, or trained again by later code) is still one replicate.
    known = trials[trials[value].notna()].sort_values("trial")
    return normalize_keys(known).drop_duplicates([*ARM_KEYS, "seed"])


def summarise(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Return one row per arm: ARM_KEYS, ``n``, ``mean``, ``std``, ``interval``, ``undertrained``.

    ``std`` is the sample standard deviation (ddof=1). ``interval`` is half the width of the mean's 95 % Student
    interval. Both are NaN if n = 1. ``undertrained`` is the number of under-trained seeds.
    """
    rows = replicates(trials, value)
    groups = rows.assign(short=is_undertrained(rows)).groupby(list(ARM_KEYS), dropna=False)
    found = groups.agg(n=(value, "count"), mean=(value, "mean"), std=(value, "std"), undertrained=("short", "sum"))
    return found.assign(interval=half_interval(found["std"], found["n"])).reset_index()


def half_interval(std: pd.Series, n: pd.Series, level: float = 0.95) -> pd.Series:
    """Return half the width of Student's interval of a mean of ``n`` values with standard deviation ``std``.

    NaN if n < 2.
    """
    return std / np.sqrt(n) * student.ppf((1 + level) / 2, (n - 1).where(n > 1))


def pair_with_dense(trials: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Return one row per sparse trial with a dense partner: ARM_KEYS, ``seed``, ``value``, ``dense``, ``difference``.

    ``undertrained`` is true if one of the two is. Seeds without a partner are left out.
    """
    rows = replicates(trials, value)
    rows = rows.assign(short=is_undertrained(rows))
    is_dense = rows["sparsifier"] == DENSE
    partners = {value: "dense", "short": "dense_short"}
    dense = rows.loc[is_dense, [*COMPARISON_KEYS, "seed", value, "short"]].rename(columns=partners)
    sparse = rows.loc[~is_dense, [*ARM_KEYS, "seed", value, "short"]].rename(columns={value: "value"})
    pairs = sparse.merge(dense, on=[*COMPARISON_KEYS, "seed"], validate="many_to_one")
    short = pairs.pop("short") | pairs.pop("dense_short")
    return pairs.assign(difference=pairs["value"] - pairs["dense"], undertrained=short)


def paired_differences(
    trials: pd.DataFrame,
    value: str = "test_accuracy",
    level: float = 0.95,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return one row per sparse arm with a dense partner: ARM_KEYS and the columns of ``stats.test_groups``.

    These are the number of pairs, the mean of arm minus dense with its interval, and p-values before and after Holm's
    correction over all given arms. A figure passes the arms that it shows. ``undertrained`` counts pairs.
    """
    pairs = pair_with_dense(trials, value)
    found = stats.test_groups(pairs, "difference", list(ARM_KEYS), level, generator)
    short = pairs.groupby(list(ARM_KEYS), dropna=False)["undertrained"].sum().reset_index()
    return found.merge(short, on=list(ARM_KEYS))


def grid(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the arms (ARM_KEYS) of the grid that ``trials`` seem to belong to. Used if no sweep defines the grid.

    The grid of a setting crosses its data ratios, methods and sparsities; an N:M mask has one sparsity. If less than
    SPARSE of the product was run, the trials are a search, and only what was run counts. A sparsity that all trials
    lack cannot be told from one that was never planned.
    """
    found = []
    for _, rows in normalize_keys(trials).groupby(list(SETTING_KEYS), dropna=False):
        crossed = rows[list(SETTING_KEYS)].head(1)
        for axis in (["data_ratio"], list(METHOD_KEYS), ["sparsity"]):
            crossed = crossed.merge(rows[axis].drop_duplicates().sort_values(axis), how="cross")
        cells = zip(crossed["sparsifier_parameters"], crossed["sparsity"], strict=True)
        crossed = crossed[[_fits(*cell) for cell in cells]]
        own = rows[list(ARM_KEYS)].drop_duplicates()
        found.append(own if _scattered(own, len(crossed)) else crossed[list(ARM_KEYS)])
    return pd.concat(found, ignore_index=True) if found else trials[list(ARM_KEYS)]


def _scattered(own: pd.DataFrame, crossed: int) -> bool:
    """Return whether the arms of a setting look like a search, given the size of a full grid."""
    alone = own.groupby(["data_ratio", "sparsity"]).size().eq(1)
    continuous = len(alone) > MOST_STEPS and len(own[list(METHOD_KEYS)].drop_duplicates()) > 1 and alone.mean() > 0.5
    return len(own) < SPARSE * crossed or continuous


def _fits(parameters: str, sparsity: float) -> bool:
    """Return whether a method with these parameters can have ``sparsity``. N:M has only 1 - N/M."""
    fields = json.loads(parameters)
    return not {"n", "m"} <= fields.keys() or bool(np.isclose(sparsity, 1 - fields["n"] / fields["m"]))


def fill_grid(summary: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Return ``summary`` with a row for every arm in ``asked`` (ARM_KEYS). Missing arms have ``n`` = 0 and NaN."""
    arms = pd.concat([normalize_keys(asked)[list(ARM_KEYS)], summary[list(ARM_KEYS)]]).drop_duplicates()
    whole = arms.merge(summary, how="left", on=list(ARM_KEYS))
    return whole.assign(**_whole_numbers(whole))


def _whole_numbers(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Fill missing counts with 0."""
    return {name: rows[name].fillna(0).astype(int) for name in ("n", "undertrained") if name in rows}


def most_accurate(trials: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return ARM_KEYS of the ``count`` most accurate sparsities per method and comparison.

    Ties take the lower sparsity.
    """
    points = summarise(trials).sort_values("sparsity", kind="stable")
    rank = points.groupby([*COMPARISON_KEYS, *METHOD_KEYS], dropna=False)["mean"].rank(ascending=False, method="first")
    return points.loc[rank <= count, list(ARM_KEYS)]


def at_nearest_sparsity(trials: pd.DataFrame, wanted: float) -> pd.DataFrame:
    """Return dense, and per comparison the sparse trials at the sparsity nearest to ``wanted``.

    Ties take the lower one.
    """
    is_sparse = trials["sparsifier"] != DENSE
    distance = (trials["sparsity"] - wanted).abs().round(9)
    order = trials.assign(distance=distance)[is_sparse].sort_values(["distance", "sparsity"])
    nearest = order.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("first")
    return trials[~is_sparse | (trials["sparsity"] == nearest.reindex(trials.index))]


def fill_methods(summary: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Return ``summary`` at one sparsity per comparison, with a row for every arm in ``asked`` at that sparsity.

    Missing arms have ``n`` = 0 and NaN. ``at_sparsity`` is the sparsity of the comparison, also for dense (0 if alone).
    """
    sparse = summary["sparsifier"] != DENSE
    cells = summary.loc[sparse, [*COMPARISON_KEYS, "sparsity"]].drop_duplicates()
    wanted = normalize_keys(asked[asked["sparsifier"] != DENSE])[list(ARM_KEYS)].drop_duplicates()
    wanted = wanted.merge(cells, on=[*COMPARISON_KEYS, "sparsity"])
    whole = fill_grid(summary, pd.concat([summary.loc[~sparse, list(ARM_KEYS)], wanted], ignore_index=True))
    at = whole.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("max")
    return whole.assign(at_sparsity=at)
