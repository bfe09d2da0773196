"""The values of trials that claims compare: columns of the table, and values derived from several tables."""

from __future__ import annotations

import pandas as pd

from sparsweep.analysis.groups import normalize_keys
from sparsweep.analysis.metrics import shallow_minus_deep_density, with_total_flops
from sparsweep.analysis.outcomes.hardness import accuracy_at_ends
from sparsweep.analysis.results import Results

_MAY_LACK = (
    "mean_corruption_accuracy",
    "worst_class_accuracy",
    "fit_accuracy",
    *("ece", "adaptive_ece", "nll", "brier", "aurc", "ood_auroc_confidence", "ood_auroc_energy"),
)
"""Columns that an earlier version did not measure."""


def with_measures(results: Results) -> pd.DataFrame:
    """Return the trials of ``results`` with the derived values of claims.

    Returns:
        The frame of trials and these columns. Accuracies and gaps are fractions; NaN if unknown.

        * ``total_flops``: training FLOPs with those of all prerequisite trials.
        * ``depth_contrast``: density of the first third of the convolutions minus that of the last third.
        * ``easy_accuracy``, ``hard_accuracy``: test accuracy on the easiest and on the hardest tenth of the images, by
          dense networks with other seeds. ``hardness_gap``: the first minus the second.
        * ``worst_class_gap``: test accuracy minus that of the worst class.
        * ``corruption_gap``: test accuracy minus the mean accuracy on corrupted test images.
        * ``allowed``: whether the sweep allows under-trained networks.
    """
    trials = with_total_flops(normalize_keys(results.trials))
    trials = trials.assign(**{name: float("nan") for name in _MAY_LACK if name not in trials})
    trials = trials.merge(_ends(results, trials), on="trial", how="left", validate="one_to_one")
    return trials.assign(
        depth_contrast=trials["trial"].map(shallow_minus_deep_density(results.layers)),
        allowed=trials["trial"].isin(results.allowed),
        worst_class_gap=trials["test_accuracy"] - trials["worst_class_accuracy"],
        corruption_gap=trials["test_accuracy"] - trials["mean_corruption_accuracy"],
        hardness_gap=trials["easy_accuracy"] - trials["hard_accuracy"],
    )


def _ends(results: Results, trials: pd.DataFrame) -> pd.DataFrame:
    """Return ``trial``, ``easy_accuracy`` and ``hard_accuracy`` of the trials with outcomes."""
    found = [pd.DataFrame({"trial": [], "easy_accuracy": [], "hard_accuracy": []})]
    for matrix in results.outcomes.get("test", ()):
        try:
            found.append(accuracy_at_ends(matrix, trials))
        except ValueError:  # no dense trial, or one seed: these values stay unknown
            continue
    rows = pd.concat([part for part in found if len(part)] or found)
    return rows.astype({"trial": trials["trial"].dtype, "easy_accuracy": float, "hard_accuracy": float})
