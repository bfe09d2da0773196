"""Pruning-identified exemplars: samples on which the usual prediction of sparse networks differs from that of dense.

Hooker et al., 2019, "What do compressed deep neural networks forget?", arXiv 1911.05248. The usual (modal) prediction
of a sample is the class that most seeds of an arm predict. Of equally frequent classes it is the smallest number. There
each arm has 30 trainings; with few seeds the mode is noisy, and with one seed it is that network's prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import ARM_KEYS, DENSE
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import SAMPLE_KEYS, compared_trials, require_dense


def modal_predictions(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode over trials of ``predictions`` uint16 (S, N), and the share of trials that predict it.

    Ties: the smallest class. ABSENT is not counted; a sample that no trial evaluated has the mode ABSENT, share NaN.

    Returns:
        Mode, uint16 (N,), and share in (0, 1], float64 (N,).
    """
    known = predictions != ABSENT
    votes = np.stack([(predictions == row).sum(axis=0) for row in predictions])
    most = np.where(known, votes, 0).max(axis=0)
    mode = np.where(known & (votes == most), predictions, ABSENT).min(axis=0)
    evaluated = known.sum(axis=0)
    return mode.astype(np.uint16), np.where(evaluated, most, np.nan) / np.where(evaluated, evaluated, 1)


def exemplars(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the pruning-identified exemplars of each sparse arm.

    Args:
        matrix: Outcomes of one split.
        trials: Frame of ``load_trials``.

    Returns:
        One row per arm and exemplar: SAMPLE_KEYS, ``sample``, ``label``, ``dense_mode``, ``sparse_mode`` (classes),
        ``dense_agreement``, ``sparse_agreement`` (share of the arm's trials that predict the mode, in (0, 1]).

    Raises:
        ValueError: No trial has outcomes, or no sparse arm has a dense one to compare with.
    """
    parts = []
    for pair in _pairs(matrix, trials):
        chosen = pair.differ
        part = {name: pair.arm[name] for name in SAMPLE_KEYS}
        part |= {"sample": matrix.samples[chosen], "label": matrix.labels[chosen]}
        part |= {"dense_mode": pair.dense_mode[chosen], "sparse_mode": pair.sparse_mode[chosen]}
        part |= {"dense_agreement": pair.dense_agreement[chosen], "sparse_agreement": pair.sparse_agreement[chosen]}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True).sort_values([*SAMPLE_KEYS, "sample"], ignore_index=True)


def exemplar_shares(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return how many samples are exemplars, and how accurate networks are on them. Same arguments and errors.

    Returns:
        One row per sparse arm: ARM_KEYS, ``comparison``, ``n`` and ``dense_n`` (seeds), ``undertrained`` (of both),
        ``samples`` (evaluated by both), ``exemplars``, ``share``. ``dense_accuracy`` and ``sparse_accuracy``: mean over
        seeds on exemplars; ``dense_accuracy_rest`` and ``sparse_accuracy_rest``: on all other samples. NaN without
        samples.
    """
    parts = []
    for pair in _pairs(matrix, trials):
        row = {name: pair.arm[name] for name in (*ARM_KEYS, "comparison")}
        row |= {"n": len(pair.sparse_rows), "dense_n": len(pair.dense_rows), "undertrained": pair.short}
        row |= {"samples": pair.evaluated.sum(), "exemplars": pair.differ.sum()}
        row["share"] = row["exemplars"] / row["samples"] if row["samples"] else np.nan
        for name, rows in (("dense", pair.dense_rows), ("sparse", pair.sparse_rows)):
            row[f"{name}_accuracy"] = _accuracy(matrix, rows, pair.differ)
            row[f"{name}_accuracy_rest"] = _accuracy(matrix, rows, pair.evaluated & ~pair.differ)
        parts.append(row)
    return pd.DataFrame(parts).sort_values(list(ARM_KEYS), ignore_index=True)


@dataclass(frozen=True)
class _Pair:
    """Modes of a sparse arm and of dense in one comparison; arrays (N,), and rows of the matrix."""

    arm: pd.Series
    short: int
    dense_rows: np.ndarray
    sparse_rows: np.ndarray
    dense_mode: np.ndarray
    sparse_mode: np.ndarray
    dense_agreement: np.ndarray
    sparse_agreement: np.ndarray

    @property
    def evaluated(self) -> np.ndarray:
        return (self.dense_mode != ABSENT) & (self.sparse_mode != ABSENT)

    @property
    def differ(self) -> np.ndarray:
        return self.evaluated & (self.dense_mode != self.sparse_mode)


def _pairs(matrix: OutcomeMatrix, trials: pd.DataFrame) -> Iterator[_Pair]:
    """Yield each sparse arm with dense. Raises ValueError if there is none."""
    rows = compared_trials(matrix, trials)
    require_dense(rows)
    count = 0
    for _, group in rows.groupby("group"):
        dense = group[group["sparsifier"] == DENSE]
        if dense.empty:
            continue
        mode, agreement = modal_predictions(matrix.predictions[dense["row"]])
        for _, sparse in group[group["sparsifier"] != DENSE].groupby("arm"):
            found = modal_predictions(matrix.predictions[sparse["row"]])
            count += 1
            yield _Pair(
                sparse.iloc[0],
                int(sparse["short"].sum() + dense["short"].sum()),
                dense["row"].to_numpy(),
                sparse["row"].to_numpy(),
                mode,
                found[0],
                agreement,
                found[1],
            )
    if not count:
        raise ValueError("no sparse trial with per-sample outcomes has a dense one of the same comparison")


def _accuracy(matrix: OutcomeMatrix, rows: np.ndarray, chosen: np.ndarray) -> float:
    """Return the accuracy of trials ``rows`` on the evaluated samples in ``chosen``, bool (N,). NaN without any."""
    predictions, labels = matrix.predictions[np.ix_(rows, chosen)], matrix.labels[chosen]
    evaluated = (predictions != ABSENT).sum()
    return float((predictions == labels).sum() / evaluated) if evaluated else float("nan")
