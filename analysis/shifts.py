"""Robustness to corruptions and detection of foreign images, from the tables ``shifts`` and ``ood``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from sparsweep.analysis.groups import COMPARISON_KEYS, DENSE

CONDITION = ["type", "severity"]


def mean_corruption_error(shifts: pd.DataFrame, trials: pd.DataFrame, reference: str | None = None) -> pd.Series:
    """Return the mean corruption error of each trial, relative to dense or to a named trial. 1: as good as these.

    Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019:
    for each type, the sum of the errors over severities is divided by that of the reference. The result is the mean
    over types.

    Args:
        shifts: Rows of ``load_shifts``.
        trials: Rows of ``load_trials``.
        reference: Id of a trial. None: the mean error of the dense trials of the same comparison.

    Returns:
        Float by trial id, for trials with rows in ``shifts``. NaN without a reference on the same types and severities.

    Raises:
        ValueError: ``reference`` has no rows in ``shifts``.
    """
    corrupted = shifts[shifts["severity"] > 0]  # 0: newly collected images
    errors = 1 - corrupted.pivot_table(index="trial", columns=CONDITION, values="accuracy")
    known = trials[trials["trial"].isin(errors.index)]
    if reference is not None:
        if reference not in errors.index:
            raise ValueError(f"reference: no trial with rows in shifts (got {reference!r}).")
        return _relative(errors, errors.T[reference])
    parts = []
    for _, group in known.groupby(list(COMPARISON_KEYS), dropna=False):
        dense = errors.loc[group.loc[group["sparsifier"] == DENSE, "trial"]]
        parts.append(_relative(errors.loc[group["trial"]], pd.Series(dense.mean())))
    return pd.concat(parts) if parts else pd.Series(dtype=float)


def _relative(errors: pd.DataFrame, reference: pd.Series) -> pd.Series:
    """Return the mean over types of the errors of each trial divided by those of ``reference``."""
    conditions = errors.columns[errors.notna().all() & reference.notna()]
    own, other = (part[conditions].T.groupby("type").sum() for part in (errors, reference.to_frame().T))
    return own.div(other.iloc[:, 0], axis=0).mean()


def with_evaluations(
    trials: pd.DataFrame, shifts: pd.DataFrame, foreign: pd.DataFrame, images: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """Return ``trials`` with the summaries of what their sweeps ask for, also if it was evaluated after the training.

    Args:
        trials: Rows of ``load_trials``.
        shifts: Rows of the table ``shifts``.
        foreign: Rows of the table ``ood``.
        images: Ids of the runs that made the shifted and foreign images, by trial.

    Returns:
        The trials with ``mean_corruption_accuracy``, ``ood_auroc_confidence`` and ``ood_auroc_energy`` replaced where
        all images of the trial were evaluated. All other values stay.
    """
    asked = pd.DataFrame([(trial, run) for trial, runs in images.items() for run in runs], columns=["trial", "images"])
    shifted = asked.merge(shifts.drop_duplicates(["trial", "images"]), on=["trial", "images"])
    detected = asked.merge(foreign.drop_duplicates(["trial", "images"]), on=["trial", "images"])
    counts = asked["trial"].value_counts()
    found = shifted["trial"].value_counts().add(detected["trial"].value_counts(), fill_value=0)
    complete = set(counts.index[found.reindex(counts.index) == counts])
    values = {
        "mean_corruption_accuracy": shifted[shifted["severity"] > 0].groupby("trial")["accuracy"].mean(),
        "ood_auroc_confidence": detected.groupby("trial")["auroc_confidence"].mean(),
        "ood_auroc_energy": detected.groupby("trial")["auroc_energy"].mean(),
    }
    known = {name: new[new.index.isin(complete)] for name, new in values.items()}
    return trials.assign(
        **{name: trials["trial"].map(new).fillna(trials[name]) for name, new in known.items() if name in trials}
    )
