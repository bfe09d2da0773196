"""Convergence of a training, on synthetic histories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.training.convergence import (
    MAX_FACTOR,
    RISE,
    epochs_to_fit,
    is_undertrained,
    late_trend,
)

EPOCHS = list(range(1, 101))


def undertrained(fit: float, curve: list[float | None], difficulty: object = "none") -> bool | None:
    trend = late_trend(EPOCHS, curve, len(EPOCHS))
    return is_undertrained(fit, difficulties.parse(difficulty).learnable, trend)


def saturating(scale: float) -> list[float | None]:
    return [0.9 * (1 - math.exp(-epoch / scale)) for epoch in EPOCHS]


def noisy(curve: list[float | None], spread: float) -> list[float | None]:
    noise = np.random.default_rng(0).normal(0, spread, len(curve))
    return [float(value + added) for value, added in zip(curve, noise, strict=True) if value is not None]


@pytest.mark.parametrize(
    ("curve", "fit", "expected"),
    [
        pytest.param(saturating(5), 0.999, False, id="converged"),
        pytest.param(saturating(5), 0.979, True, id="does not fit its samples"),
        pytest.param(saturating(100), 0.999, True, id="rising"),
        pytest.param(noisy(saturating(5), 0.03), 0.999, False, id="flat and noisy"),
        pytest.param(noisy(saturating(100), 0.01), 0.999, True, id="rising and noisy"),
        pytest.param([0.9 - 0.002 * epoch for epoch in EPOCHS], 1.0, False, id="falling: overfitted, long enough"),
        pytest.param([0.1] * 100, 0.1, True, id="diverged to constant predictions"),
        pytest.param([None] * 99 + [0.9], 0.999, None, id="evaluated once: unknown"),
        pytest.param([None] * 99 + [0.9], 0.5, True, id="evaluated once, and does not fit"),
    ],
)
def test_is_undertrained(curve: list[float | None], fit: float, expected: bool | None) -> None:
    assert undertrained(fit, curve) is expected


def test_wrong_labels_need_not_be_memorized() -> None:
    noise = {"name": "label_noise", "fraction": 0.2}
    assert undertrained(0.80, saturating(5), noise) is False
    assert undertrained(0.78, saturating(5), noise) is True  # below 0.98 * 0.8


def test_under_attack_only_the_trend_counts() -> None:
    assert undertrained(0.6, saturating(5), "adversarial") is False
    assert undertrained(0.6, saturating(100), "adversarial") is True


def test_the_learnable_share_of_a_composed_difficulty_combines_its_stages() -> None:
    noise = {"name": "label_noise", "fraction": 0.25}
    noisy_images = difficulties.parse({"name": "composed", "labels": noise, "images": "corruption"})
    assert noisy_images.learnable == 0.75
    assert difficulties.parse({"name": "composed", "labels": noise, "attack": "adversarial"}).learnable is None


def test_the_trend_is_the_gain_over_the_last_quarter() -> None:
    # 0.5 points per epoch until epoch 74, then 0.1. A quarter is 25 epochs.
    curve = [0.005 * min(epoch, 74) + 0.001 * max(epoch - 74, 0) for epoch in EPOCHS]
    trend = late_trend(
        EPOCHS, [value if epoch % 5 == 0 else None for epoch, value in zip(EPOCHS, curve, strict=True)], 100
    )
    assert trend is not None
    assert trend.gain == pytest.approx(0.025, rel=1e-9)
    assert trend.error == pytest.approx(0, abs=1e-9)


def test_the_standard_error_of_the_trend_by_hand() -> None:
    # Points (0, 0), (1, 1), (2, 0), centered at x = 1: slope 0, residuals -1/3, 2/3, -1/3, variance (2/3) / 1 / 2.
    trend = late_trend([8, 9, 10], [0.0, 1.0, 0.0], 10)
    assert trend is not None
    assert trend.gain == pytest.approx(0)
    assert trend.error == pytest.approx(0.25 * math.sqrt(1 / 3) / 0.1)


def test_an_insignificant_gain_is_not_a_rise() -> None:
    # The last eight evaluations of a network that had fitted all its samples. The gain is 1.05 points, t is 2.7.
    curve = [0.8722, 0.8722, 0.875, 0.8778, 0.875, 0.8861, 0.8778, 0.8806]
    trend = late_trend(range(46, 61, 2), curve, 60)
    assert trend is not None and trend.gain > RISE
    # The threshold is 3.14, Student's t at 0.99 with six degrees of freedom.
    assert trend.gain / trend.error == pytest.approx(2.67, abs=0.01)
    assert not trend.rising


@pytest.mark.parametrize("gain", [0.9 * RISE, 1.1 * RISE])
def test_a_trend_is_rising_above_the_threshold(gain: float) -> None:
    curve: list[float | None] = [0.5 + gain * epoch / 25 for epoch in EPOCHS]
    assert undertrained(1.0, curve) is (gain > RISE)


def test_a_history_may_start_late_as_after_rewinding() -> None:
    trend = late_trend(EPOCHS[90:], saturating(100)[90:], 100)
    assert trend is not None and trend.rising


def test_epochs_to_fit_recovers_a_power_law() -> None:
    # The error is t^-1 at the high learning rate, so the exponent is 1. The final error is 1 - fit_accuracy.
    rates = [0.1] * 25 + [0.01] * 25
    accuracies = [1 - 1 / epoch for epoch in range(1, 26)] + [0.92] * 25
    assert epochs_to_fit(accuracies, rates, 0.92, 1.0, 50) == 200  # the error 0.08 is four times 0.02
    assert epochs_to_fit(accuracies, rates, 0.96, 1.0, 50) == 100


@pytest.mark.parametrize(
    ("accuracies", "fit", "learnable"),
    [
        pytest.param([0.3] * 50, 0.3, 1.0, id="does not learn"),
        pytest.param([1 - 0.9 * epoch**-0.01 for epoch in range(1, 51)], 0.2, 1.0, id="learns far too slowly"),
        pytest.param([0.3, 0.5, 0.6], 0.6, 1.0, id="too short to extrapolate"),
        pytest.param([1 - 1 / epoch for epoch in range(1, 51)], 0.99, 1.0, id="fits"),
        pytest.param([1 - 1 / epoch for epoch in range(1, 51)], 0.9, None, id="under attack"),
    ],
)
def test_epochs_to_fit_is_unknown(accuracies: list[float], fit: float, learnable: float | None) -> None:
    assert epochs_to_fit(accuracies, [0.1] * len(accuracies), fit, learnable, len(accuracies)) is None


def test_extrapolations_beyond_the_maximum_factor_are_unknown() -> None:
    accuracies = [1 - 1 / epoch for epoch in range(1, 51)]
    within_limit = 1 - 0.02 * (MAX_FACTOR - 0.5)
    assert epochs_to_fit(accuracies, [0.1] * 50, within_limit, 1.0, 50) == pytest.approx(50 * (MAX_FACTOR - 0.5), abs=1)
    assert epochs_to_fit(accuracies, [0.1] * 50, 1 - 0.02 * (MAX_FACTOR + 0.5), 1.0, 50) is None
