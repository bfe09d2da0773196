"""Mean corruption error: worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparsweep.analysis.shifts import mean_corruption_error, with_evaluations


@pytest.fixture
def trials(frame: Any, row: Any) -> pd.DataFrame:
    """Two dense seeds and one sparse trial of one comparison."""
    return frame([row("dense", 0.0, 0, 0.9), row("dense", 0.0, 1, 0.9), row("set", 0.8, 0, 0.9)])


def shifts(trials: pd.DataFrame, accuracies: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"trial": trial, "type": name, "severity": severity, "accuracy": accuracy}
            for (name, severity), values in accuracies.items()
            for trial, accuracy in zip(trials["trial"], values, strict=True)
        ]
    )


def test_it_is_the_mean_over_types_of_the_relative_errors(trials: pd.DataFrame) -> None:
    """Fog: errors 0.3 + 0.5 of the sparse trial, (0.2 + 0.4) of dense on average. Snow: 0.1 and 0.2."""
    rows = shifts(trials, {("fog", 1): [0.9, 0.7, 0.7], ("fog", 5): [0.6, 0.6, 0.5], ("snow", 1): [0.8, 0.8, 0.9]})
    found = mean_corruption_error(rows, trials)
    assert found[trials["trial"][2]] == pytest.approx((0.8 / 0.6 + 0.1 / 0.2) / 2)
    assert found[trials["trial"][:2]].mean() == pytest.approx(1.0)


def test_a_named_trial_is_the_reference(trials: pd.DataFrame) -> None:
    rows = shifts(trials, {("fog", 1): [0.9, 0.7, 0.7]})
    found = mean_corruption_error(rows, trials, trials["trial"][0])
    assert found[trials["trial"]].tolist() == pytest.approx([1.0, 3.0, 3.0])
    with pytest.raises(ValueError, match=r"^reference: no trial with rows in shifts \(got 'nobody'\)\.$"):
        mean_corruption_error(rows, trials, "nobody")


def test_without_dense_there_is_no_error(trials: pd.DataFrame) -> None:
    rows = shifts(trials, {("fog", 1): [0.9, 0.7, 0.7]})
    alone = trials[trials["sparsifier"] != "dense"]
    assert math.isnan(mean_corruption_error(rows[rows["trial"].isin(alone["trial"])], alone).iloc[0])
    assert mean_corruption_error(rows.head(0), trials).empty


def test_summaries_come_from_what_each_sweep_asks_for() -> None:
    """Trial a was evaluated on x and y after training, b on x only. The sweep asks for x and y."""
    names = ["mean_corruption_accuracy", "ood_auroc_confidence", "ood_auroc_energy"]
    trials = pd.DataFrame({"trial": ["a", "b", "c"], **{name: [np.nan, np.nan, 0.9] for name in names}})
    rows = [("a", "x", 1, 0.5), ("a", "x", 1, 0.5), ("a", "y", 2, 0.25), ("a", "other", 1, 1.0), ("b", "x", 1, 0.5)]
    rows.append(("a", "new", 0, 0.9))  # newly collected images are no corruption
    shifts = pd.DataFrame(rows, columns=["trial", "images", "severity", "accuracy"])
    foreign = pd.DataFrame([("a", "f", 0.7, 0.8)], columns=["trial", "images", "auroc_confidence", "auroc_energy"])
    asked = {"a": ["x", "y", "new", "f"], "b": ["x", "y"]}
    found = with_evaluations(trials, shifts, foreign, asked).set_index("trial")
    assert found.loc["a", names].tolist() == [0.375, 0.7, 0.8]
    assert found.loc["b", names].isna().all()  # y is missing: no mean over fewer images
    assert found.loc["c", names].tolist() == [0.9] * 3
