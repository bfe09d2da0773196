"""Whether a training went to its end, on made-up histories."""

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


def verdict(fit: float, curve: list[float | None], difficulty: object = "none") -> bool | None:
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
        pytest.param([0.9 - 0.002 * epoch for epoch in EPOCHS], 1.0, False, id="falling: over-fitted, not too short"),
        pytest.param([0.1] * 100, 0.1, True, id="diverged to a constant guess"),
        pytest.param([None] * 99 + [0.9], 0.999, None, id="evaluated once: unknown"),
        pytest.param([None] * 99 + [0.9], 0.5, True, id="evaluated once, and does not fit"),
    ],
)
def test_the_rule(curve: list[float | None], fit: float, expected: bool | None) -> None:
    assert verdict(fit, curve) is expected


def test_wrong_labels_need_not_be_memorized() -> None:
    noise = {"name": "label_noise", "fraction": 0.2}
    assert verdict(0.80, saturating(5), noise) is False
    assert verdict(0.78, saturating(5), noise) is True  # below .98 of .8


def test_under_attack_the_trend_alone_decides() -> None:
    assert verdict(0.6, saturating(5), "adversarial") is False
    assert verdict(0.6, saturating(100), "adversarial") is True


def test_a_composed_difficulty_asks_for_what_all_its_stages_leave() -> None:
    noise = {"name": "label_noise", "fraction": 0.25}
    noisy_images = difficulties.parse({"name": "composed", "labels": noise, "images": "corruption"})
    assert noisy_images.learnable == 0.75
    assert difficulties.parse({"name": "composed", "labels": noise, "attack": "adversarial"}).learnable is None


def test_the_trend_is_the_gain_over_the_last_quarter() -> None:
    # Half a point per epoch until epoch 74, then a tenth: 25 epochs are a quarter.
    curve = [0.005 * min(epoch, 74) + 0.001 * max(epoch - 74, 0) for epoch in EPOCHS]
    trend = late_trend(
        EPOCHS, [value if epoch % 5 == 0 else None for epoch, value in zip(EPOCHS, curve, strict=True)], 100
    )
    assert trend is not None
    assert trend.gain == pytest.approx(0.025, rel=1e-9)
    assert trend.error == pytest.approx(0, abs=1e-9)


def test_the_error_of_a_line_by_hand() -> None:
    # Points (0, 0), (1, 1), (2, 0) about x = 1: slope 0, residuals -1/3, 2/3, -1/3, variance 2/3 over 1 over 2.
    trend = late_trend([8, 9, 10], [0.0, 1.0, 0.0], 10)
    assert trend is not None
    assert trend.gain == pytest.approx(0)
    assert trend.error == pytest.approx(0.25 * math.sqrt(1 / 3) / 0.1)


def test_a_step_up_by_chance_is_not_a_rise() -> None:
    # The last eight evaluations of a network that had fitted all its samples: a gain of 1.05 points, t = 2.7.
    curve = [0.8722, 0.8722, 0.875, 0.8778, 0.875, 0.8861, 0.8778, 0.8806]
    trend = late_trend(range(46, 61, 2), curve, 60)
    assert trend is not None and trend.gain > RISE
    assert trend.gain / trend.error == pytest.approx(2.67, abs=0.01)  # Student's t at .99, six degrees: 3.14
    assert not trend.rising


@pytest.mark.parametrize("gain", [0.9 * RISE, 1.1 * RISE])
def test_the_line_is_rising_from_a_point_on(gain: float) -> None:
    curve: list[float | None] = [0.5 + gain * epoch / 25 for epoch in EPOCHS]
    assert verdict(1.0, curve) is (gain > RISE)


def test_a_ticket_that_was_rewound_has_a_history_that_begins_late() -> None:
    trend = late_trend(EPOCHS[90:], saturating(100)[90:], 100)
    assert trend is not None and trend.rising


def test_epochs_to_fit_recovers_a_power_law() -> None:
    # The error is t^-1 while the rate is high; with 50 epochs the drop of the rate leaves a fifth of 1/25 more or less.
    rates = [0.1] * 25 + [0.01] * 25
    accuracies = [1 - 1 / epoch for epoch in range(1, 26)] + [0.92] * 25
    assert epochs_to_fit(accuracies, rates, 0.92, 1.0, 50) == 200  # an error of .08 is four times .02
    assert epochs_to_fit(accuracies, rates, 0.96, 1.0, 50) == 100


@pytest.mark.parametrize(
    ("accuracies", "fit", "learnable"),
    [
        pytest.param([0.3] * 50, 0.3, 1.0, id="does not learn"),
        pytest.param([1 - 0.9 * epoch**-0.01 for epoch in range(1, 51)], 0.2, 1.0, id="learns far too slowly"),
        pytest.param([0.3, 0.5, 0.6], 0.6, 1.0, id="too short to tell"),
        pytest.param([1 - 1 / epoch for epoch in range(1, 51)], 0.99, 1.0, id="fits"),
        pytest.param([1 - 1 / epoch for epoch in range(1, 51)], 0.9, None, id="under attack"),
    ],
)
def test_epochs_to_fit_is_unknown(accuracies: list[float], fit: float, learnable: float | None) -> None:
    assert epochs_to_fit(accuracies, [0.1] * len(accuracies), fit, learnable, len(accuracies)) is None


def test_an_extrapolation_is_bounded() -> None:
    accuracies = [1 - 1 / epoch for epoch in range(1, 51)]
    barely = 1 - 0.02 * (MAX_FACTOR - 0.5)
    assert epochs_to_fit(accuracies, [0.1] * 50, barely, 1.0, 50) == pytest.approx(50 * (MAX_FACTOR - 0.5), abs=1)
    assert epochs_to_fit(accuracies, [0.1] * 50, 1 - 0.02 * (MAX_FACTOR + 0.5), 1.0, 50) is None
