"""Which trials of a matrix are replicates and partners, and means over seeds of values per group of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sparsweep.analysis import stats
from sparsweep.analysis.convergence import is_undertrained
from sparsweep.analysis.groups import ARM_KEYS, COMPARISON_KEYS, DENSE, half_interval, replicates
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix

NO_OUTCOMES = "no trial has per-sample outcomes: add evaluation: {outcomes: [test]} to the sweep and run it"
NO_DENSE = "no dense trial has per-sample outcomes: add dense to the sweep with evaluation: {outcomes: [test]}"

SAMPLE_KEYS: tuple[str, ...] = ("comparison", "sparsifier", "sparsifier_parameters", "sparsity")
"""What identifies an arm in frames with one row per sample."""


def compared_trials(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``trials`` with outcomes, one per arm and seed, in ascending order of ids.

    Added columns: ``row`` in ``matrix``; ``arm``, the number of the arm; ``group``, the number of the comparison;
    ``partner``, the row of this frame with the dense trial of the same comparison and seed (-1: none, or dense itself);
    ``short``, whether it is under-trained. Trials whose specs differ only in how often they are evaluated belong to
    one comparison, so they get one value of ``comparison``.

    Raises:
        ValueError: No trial has outcomes.
    """
    place = {trial: row for row, trial in enumerate(matrix.trials)}
    known = trials[trials["trial"].isin(list(place))]
    if known.empty or not len(matrix.samples):
        raise ValueError(NO_OUTCOMES)
    rows = replicates(known, "trial").reset_index(drop=True)
    comparisons = rows.groupby(list(COMPARISON_KEYS), dropna=False)
    rows = rows.assign(
        row=rows["trial"].map(place),
        arm=rows.groupby(list(ARM_KEYS), dropna=False).ngroup(),
        group=comparisons.ngroup(),
        comparison=comparisons["comparison"].transform("min"),
        short=is_undertrained(rows),
    )
    dense = rows[rows["sparsifier"] == DENSE]
    partners = pd.Series(dense.index, index=pd.MultiIndex.from_frame(dense[["group", "seed"]]))
    found = partners.reindex(pd.MultiIndex.from_frame(rows[["group", "seed"]])).fillna(-1).to_numpy(dtype=int)
    return rows.assign(partner=np.where(rows["sparsifier"] == DENSE, -1, found))


def require_dense(rows: pd.DataFrame) -> None:
    """Raise ValueError if no row of :func:`compared_trials` is dense."""
    if not (rows["sparsifier"] == DENSE).any():
        raise ValueError(NO_DENSE)


def summarise_groups(rows: pd.DataFrame, values: np.ndarray, name: str, groups: Sequence[int | str]) -> pd.DataFrame:
    """Return the mean over seeds per arm and group of samples, and the paired difference to dense.

    Args:
        rows: R rows of :func:`compared_trials`.
        values: A value per trial and group, float (R, G). NaN: unknown.
        name: Column of the groups in the result.
        groups: The G groups.

    Returns:
        One row per arm and group with a known value, groups in the order given: ARM_KEYS, ``name``, ``n`` seeds,
        ``mean``, ``std`` (ddof=1), ``interval`` (half of the mean's 95 % Student interval), ``undertrained`` (seeds),
        ``pairs``, ``difference`` (mean of arm minus dense with the same seed) with its 95 % Student interval ``low``,
        ``high``. Without pairs they are NaN.
    """
    partner = rows["partner"].to_numpy()
    differences = np.where(partner[:, None] >= 0, values - values[partner], np.nan)
    short = np.where(np.isnan(values), False, rows["short"].to_numpy()[:, None])
    arms = [np.asarray(places) for places in rows.groupby("arm").indices.values()]
    parts = {
        "undertrained": np.stack([short[places].sum(axis=0) for places in arms]),
        **_moments(values, arms, ("n", "mean", "std")),
        **_moments(differences, arms, ("pairs", "difference", "spread")),
    }
    keys = rows.loc[[places[0] for places in arms], list(ARM_KEYS)]
    found = keys.loc[keys.index.repeat(len(groups))].reset_index(drop=True)
    found = found.assign(
        **{name: np.tile(np.array(groups), len(keys))}, **{key: part.ravel() for key, part in parts.items()}
    )
    pairs, difference, spread = (found[key].to_numpy(dtype=float) for key in ("pairs", "difference", "spread"))
    low, high, _ = stats.t_summary(pairs, difference, spread / np.sqrt(np.maximum(pairs, 1)), 0.95)
    found = found.assign(interval=half_interval(found["std"], found["n"]), low=low, high=high)
    columns = [*ARM_KEYS, name, "n", "mean", "std", "interval", "undertrained", "pairs", "difference", "low", "high"]
    return found.loc[found["n"] > 0, columns].sort_values(list(ARM_KEYS), ignore_index=True, kind="stable")


def _moments(values: np.ndarray, arms: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return count, mean and sample standard deviation of ``values`` (R, G) over the rows of each arm: (A, G) each."""
    frames = [values[places] for places in arms]
    counts = np.stack([np.count_nonzero(~np.isnan(part), axis=0) for part in frames])
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.stack([np.nansum(part, axis=0) for part in frames]) / np.where(counts, counts, np.nan)
        squares = [np.nansum((part - mean) ** 2, axis=0) for part, mean in zip(frames, means, strict=True)]
        spreads = np.sqrt(np.stack(squares) / np.where(counts > 1, counts - 1, np.nan))
    return dict(zip(names, (counts, means, spreads), strict=True))
