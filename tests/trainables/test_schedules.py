"""When a sparsifier acts, and how strongly: closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.sparsifiers.schedules import Timeline, cosine, cubic


@pytest.mark.parametrize(
    ("progress", "value"),
    [(0, 0.2), (1, 0.001), (0.5, 0.1005), (1 / 3, 0.001 + 0.199 * 0.75), (2 / 3, 0.001 + 0.199 * 0.25)],
)
def test_cosine(progress: float, value: float) -> None:
    assert cosine(progress, 0.2, 0.001) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("progress", "value"), [(0, 0.0), (1, 0.8), (0.5, 0.7), (0.25, 0.8 * 37 / 64)])
def test_cubic(progress: float, value: float) -> None:
    assert cubic(progress, 0.8) == pytest.approx(value, rel=1e-12)


def test_cubic_ends_exactly_at_the_asked_sparsity() -> None:
    assert [cubic(1.0, sparsity) for sparsity in (0.1, 0.3, 0.9)] == [0.1, 0.3, 0.9]


@pytest.mark.parametrize(("epochs", "steps"), [(4, 1564), (1, 391), (0.5, 196), (0.001, 1), (1e-9, 1)])
def test_interval_is_at_least_one_step(epochs: float, steps: int) -> None:
    """391 steps an epoch: 50,000 images in batches of 128."""
    assert Timeline(200, 391).interval(epochs) == steps


@given(st.integers(1, 500), st.integers(1, 2000), st.floats(1e-12, 1000))
def test_interval_is_never_nothing(epochs: int, steps_per_epoch: int, every: float) -> None:
    assert Timeline(epochs, steps_per_epoch).interval(every) >= 1


def test_timeline_by_hand() -> None:
    timeline = Timeline(10, 7)
    assert timeline.steps == 70
    assert [timeline.at(fraction) for fraction in (0, 0.1, 0.5, 0.75, 0.99, 1)] == [0, 7, 35, 52, 69, 69]


@given(st.integers(1, 500), st.integers(1, 2000), st.floats(0, 1))
def test_a_step_in_time_is_a_step_of_training(epochs: int, steps_per_epoch: int, fraction: float) -> None:
    timeline = Timeline(epochs, steps_per_epoch)
    assert 0 <= timeline.at(fraction) < timeline.steps
    assert math.isclose(timeline.at(fraction), fraction * timeline.steps, abs_tol=1)
