"""Schedules of sparsifiers: update steps, decays and ramps in closed form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.timeline import DECAYS, RAMPS, Decay, SparsitySchedule, TrainingSteps, cosine, cubic


@pytest.mark.parametrize(
    ("progress", "value"),
    [(0, 0.2), (1, 0.001), (0.5, 0.1005), (1 / 3, 0.001 + 0.199 * 0.75), (2 / 3, 0.001 + 0.199 * 0.25)],
)
def test_cosine(progress: float, value: float) -> None:
    assert cosine(progress, 0.2, 0.001) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("progress", "value"), [(0, 0.0), (1, 0.8), (0.5, 0.7), (0.25, 0.8 * 37 / 64)])
def test_cubic(progress: float, value: float) -> None:
    assert cubic(progress, 0.8) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.4, 0.325, 0.25, 0.175, 0.1]),
        ("cosine", [0.4, 0.25 + 0.15 * math.sqrt(0.5), 0.25, 0.25 - 0.15 * math.sqrt(0.5), 0.1]),
        ("exponential", [0.4, 0.4 / math.sqrt(2), 0.2, 0.2 / math.sqrt(2), 0.1]),  # two halvings
        ("steps", [0.4, 0.4, 0.4, 0.25, 0.1]),
    ],
)
def test_decays_at_the_quarters_in_closed_form(name: Decay, values: list[float]) -> None:
    assert [DECAYS[name](quarter / 4, 0.4, 0.1) for quarter in range(5)] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "quarter", "half"),
    [
        ("cubic", 0.75 * 37 / 64, 0.75 * 7 / 8),
        ("cosine", 0.75 * (1 - math.sqrt(0.5)) / 2, 0.375),
        ("linear", 0.1875, 0.375),
        ("exponential", 1 - math.sqrt(0.5), 0.5),  # the density is 1, 0.707, 0.5, ..., 0.25
    ],
)
def test_ramps_to_three_quarters_in_closed_form(name: SparsitySchedule, quarter: float, half: float) -> None:
    values = [RAMPS[name](progress, 0.75) for progress in (0, 0.25, 0.5)]
    assert values == pytest.approx([0, quarter, half], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", sorted(set(DECAYS) - {"constant"}))
def test_decays_end_at_the_final_rate(name: Decay) -> None:
    assert DECAYS[name](1.0, 0.5, 0.001) == pytest.approx(0.001, rel=1e-12)


@pytest.mark.parametrize("name", RAMPS)
@given(sparsity=st.floats(0.001, 0.999), total=st.integers(1, 10**7))
def test_ramps_end_at_exactly_the_target_count(name: SparsitySchedule, sparsity: float, total: int) -> None:
    assert num_active(total, RAMPS[name](1.0, sparsity)) == num_active(total, sparsity)


@pytest.mark.parametrize("name", RAMPS)
@given(sparsity=st.floats(0.001, 0.999), early=st.floats(0, 1), late=st.floats(0, 1))
def test_ramps_never_fall(name: SparsitySchedule, sparsity: float, early: float, late: float) -> None:
    early, late = sorted((early, late))
    assert 0 <= RAMPS[name](early, sparsity) <= RAMPS[name](late, sparsity) + 1e-12 <= sparsity + 2e-12


@pytest.mark.parametrize(("epochs", "steps"), [(4, 1564), (1, 391), (0.5, 196), (0.001, 1), (1e-9, 1)])
def test_interval_is_at_least_one_step(epochs: float, steps: int) -> None:
    """391 steps per epoch: 50,000 images in batches of 128."""
    assert TrainingSteps(200, 391).epochs_to_steps(epochs) == steps


@given(st.integers(1, 500), st.integers(1, 2000), st.floats(1e-12, 1000))
def test_interval_is_never_zero(epochs: int, steps_per_epoch: int, every: float) -> None:
    assert TrainingSteps(epochs, steps_per_epoch).epochs_to_steps(every) >= 1


def test_timeline_by_hand() -> None:
    timeline = TrainingSteps(10, 7)
    assert timeline.steps == 70
    assert [timeline.step_at(fraction) for fraction in (0, 0.1, 0.5, 0.75, 0.99, 1)] == [0, 7, 35, 52, 69, 69]


@given(st.integers(1, 500), st.integers(1, 2000), st.floats(0, 1))
def test_step_at_a_fraction_is_a_step_of_training(epochs: int, steps_per_epoch: int, fraction: float) -> None:
    timeline = TrainingSteps(epochs, steps_per_epoch)
    assert 0 <= timeline.step_at(fraction) < timeline.steps
    assert math.isclose(timeline.step_at(fraction), fraction * timeline.steps, abs_tol=1)
