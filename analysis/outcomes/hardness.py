"""Hardness of samples, and accuracy as a function of hardness.

The hardness of a sample is 1 minus the mean probability that dense networks give its label. A network is not scored by
the hardness that it helped to define: samples on which one training failed by chance would look hard, and any other
network would seem to gain on them (regression to the mean). So the hardness for a seed comes from dense trials with
other seeds (cross-fitting: Chernozhukov et al., 2018, arXiv 1608.00060). The seed is left out for sparse trials too:
they share their initial weights with the dense trial, or continue it (OMP, LTH).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import DENSE
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials, require_dense, summarise_groups

ONE_SEED = "no comparison has dense outcomes of two seeds: hardness for a seed needs other dense seeds. Add seeds"


def dense_hardness(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the cross-fitted hardness of each sample for each seed of each comparison.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.

    Returns:
        One row per comparison, seed and sample: ``comparison``, ``seed``, ``sample``, ``hardness`` in [0, 1]. Samples
        that no other dense seed evaluated, and comparisons with one dense seed, are left out.

    Raises:
        ValueError: No trial has outcomes, none is dense, or no comparison has two dense seeds.
    """
    rows = compared_trials(matrix, trials)
    require_dense(rows)
    parts = []
    for _, group in rows.groupby("group"):
        dense = group[group["sparsifier"] == DENSE]
        if len(dense) < 2:
            continue
        for seed, hardness in cross_fit(matrix, dense, group["seed"].unique()):
            known = ~np.isnan(hardness)
            part = {"comparison": group["comparison"].iloc[0], "seed": seed, "sample": matrix.samples[known]}
            parts.append(pd.DataFrame({**part, "hardness": hardness[known]}))
    if not parts:
        raise ValueError(ONE_SEED)
    return pd.concat(parts, ignore_index=True).astype({"comparison": "category"})


def cross_fit(matrix: OutcomeMatrix, dense: pd.DataFrame, seeds: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each seed with the hardness float64 (N,) from ``dense`` trials of other seeds. NaN: none evaluated it.

    ``dense``: rows of :func:`compared_trials`.
    """
    probabilities = matrix.label_probabilities[dense["row"]].astype(np.float64)
    known = ~np.isnan(probabilities)
    filled = np.where(known, probabilities, 0.0)
    for seed in sorted(seeds):
        others = dense["seed"].to_numpy() != seed
        count = known[others].sum(axis=0)
        yield seed, 1 - filled[others].sum(axis=0) / np.where(count, count, np.nan)


def score_hardness(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores as hardness, equal for all seeds, e.g. EL2N for the split ``train``.

    Args:
        scores: Columns ``sample`` (index in the same split) and ``score`` (larger is harder, any unit). Several rows of
            one sample, such as those of several scoring runs, are averaged. ``name``, if present, must be constant.

    Returns:
        ``sample`` (ascending) and ``hardness`` in the unit of the score.

    Raises:
        ValueError: There are scores of several names, or no finite score.
    """
    names = sorted(scores["name"].unique()) if "name" in scores else []
    if len(names) > 1:
        raise ValueError(f"scores: one score at a time (got {', '.join(names)}). Select the rows of one name.")
    known = scores[np.isfinite(scores["score"])]
    if known.empty:
        raise ValueError("no finite score of any sample")
    return known.groupby("sample")["score"].mean().rename("hardness").reset_index()


def accuracy_by_decile(
    matrix: OutcomeMatrix, trials: pd.DataFrame, hardness: pd.DataFrame, deciles: int = 10
) -> pd.DataFrame:
    """Return the accuracy of each arm on samples of each decile of hardness, and the difference to dense.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.
        hardness: From :func:`dense_hardness` or :func:`score_hardness`.
        deciles: Number of groups of equal size (within one sample).

    Returns:
        One row per arm and ``decile`` (1: easiest; by rank among the samples that the trial evaluated, of equal ones
        the lower index first), with the columns of :func:`summarise_groups`.

    Raises:
        ValueError: No trial has outcomes and hardness, or there are fewer samples than deciles.
    """
    rows = compared_trials(matrix, trials)
    values = _decile_accuracies(matrix, rows, hardness, deciles)
    return summarise_groups(rows, values, "decile", range(1, deciles + 1))


def accuracy_at_ends(matrix: OutcomeMatrix, trials: pd.DataFrame, deciles: int = 10) -> pd.DataFrame:
    """Return the accuracy of each trial on the easiest and on the hardest decile, by :func:`dense_hardness`.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.
        deciles: Number of groups of equal size.

    Returns:
        ``trial``, ``easy_accuracy`` and ``hard_accuracy`` in [0, 1]. NaN without another dense seed.

    Raises:
        ValueError: As in :func:`dense_hardness` and :func:`accuracy_by_decile`.
    """
    rows = compared_trials(matrix, trials)
    values = _decile_accuracies(matrix, rows, dense_hardness(matrix, trials), deciles)
    return pd.DataFrame({"trial": rows["trial"], "easy_accuracy": values[:, 0], "hard_accuracy": values[:, -1]})


def _decile_accuracies(matrix: OutcomeMatrix, rows: pd.DataFrame, hardness: pd.DataFrame, deciles: int) -> np.ndarray:
    """Return the accuracy per row of :func:`compared_trials` and decile, float64 (R, deciles). NaN: unknown."""
    values = np.full((len(rows), deciles), np.nan)
    for places, vector in _assigned(matrix, rows, hardness):
        values[places] = accuracy_by_rank(matrix, rows["row"].to_numpy()[places], vector, deciles)
    if np.isnan(values).all():
        raise ValueError("no trial with per-sample outcomes has a hardness of its comparison, seed and samples")
    return values


def _assigned(
    matrix: OutcomeMatrix, rows: pd.DataFrame, hardness: pd.DataFrame
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places in ``rows`` with the hardness (N,) that applies to them."""
    if "seed" not in hardness:
        yield np.arange(len(rows)), _aligned(matrix, hardness)
        return
    places = rows.groupby(["comparison", "seed"]).indices
    for key, part in hardness.groupby(["comparison", "seed"], observed=True):
        if key in places:
            yield np.asarray(places[key]), _aligned(matrix, part)


def _aligned(matrix: OutcomeMatrix, hardness: pd.DataFrame) -> np.ndarray:
    """Return the hardness of each sample of ``matrix``, float64 (N,). NaN if unknown."""
    return hardness.set_index("sample")["hardness"].reindex(matrix.samples).to_numpy(dtype=np.float64)


def accuracy_by_rank(matrix: OutcomeMatrix, chosen: np.ndarray, hardness: np.ndarray, groups: int) -> np.ndarray:
    """Return the accuracy per group of samples of similar hardness, easiest first: float64 (R, groups).

    Args:
        matrix: Outcomes of one split.
        chosen: R rows of ``matrix``.
        hardness: Of each sample, (N,). NaN: unknown, the sample is left out.
        groups: Number of groups of equal size.

    Raises:
        ValueError: A trial evaluated fewer samples of known hardness than ``groups``, but not none.
    """
    order = np.argsort(hardness, kind="stable")[: np.count_nonzero(~np.isnan(hardness))]
    found = np.full((len(chosen), groups), np.nan)
    for place, row in enumerate(chosen):
        predictions = matrix.predictions[row]
        own = order[predictions[order] != ABSENT]
        if 0 < len(own) < groups:
            raise ValueError(f"{groups} groups of hardness need as many samples (got {len(own)}).")
        if len(own):
            group = np.arange(len(own)) * groups // len(own)
            correct = predictions[own] == matrix.labels[own]
            found[place] = np.bincount(group, correct, groups) / np.bincount(group, minlength=groups)
    return found
