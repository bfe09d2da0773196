"""Methods that drop and grow: the share of weights per update, the counts per layer, and the selection."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sparsweep.trainables.sparsifiers.drop_grow import (
    allocate_proportionally,
    bottom_k_within,
    num_to_drop,
    scale_to_capacity,
    top_k_within,
)
from sparsweep.trainables.sparsifiers.rigl import RigL
from sparsweep.trainables.specs.timeline import DECAYS, Decay, TrainingSteps
from support.mask_updates import mask, update_context
from support.tiny_trials import trial


def tensors(*numbers: int) -> list[torch.Tensor]:
    return [torch.tensor(number) for number in numbers]


# Drop rate ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", ["linear", "cosine", "exponential", "steps"])
def test_decay_that_ends_early_stays_at_its_final_rate(decay: Decay) -> None:
    """Rate 0.4 at step 0, 0.1 at step 50 of 100."""
    method = RigL(prune_rate=0.4, final_prune_rate=0.1, decay=decay, decay_fraction=0.5)
    rates = [method.rate(update_context({}, step)) for step in (0, 25, 50, 80, 100)]
    assert rates == pytest.approx([0.4, DECAYS[decay](0.5, 0.4, 0.1), 0.1, 0.1, 0.1], rel=1e-12)


def test_rigl_rate_falls_to_zero_at_the_last_update() -> None:
    """f(t) = 0.3 / 2 (1 + cos(pi t / 75)), 100 steps."""
    for step in (0, 10, 30, 60, 75):
        expected = 0.15 * (1 + math.cos(math.pi * step / 75))
        assert RigL().rate(update_context({}, step)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["set", "rigl", "itop", "mest", "snfs", "dsr"])
def test_final_prune_rate_above_prune_rate_is_an_error(name: str) -> None:
    method = {"name": name, "prune_rate": 0.1, "final_prune_rate": 0.2}
    with pytest.raises(
        ValidationError, match=r"sparsifier\.final_prune_rate: must not exceed prune_rate 0\.1 \(got 0\.2\)"
    ):
        trial(sparsifier=method, sparsity=0.5)


def test_exponential_decay_to_zero_is_an_error() -> None:
    """An exponential decay to 0 would replace no weights from the second update on."""
    method = {"name": "rigl", "decay": "exponential"}
    with pytest.raises(
        ValidationError, match=r"sparsifier\.final_prune_rate: must be above 0 for exponential decay \(got 0\)"
    ):
        trial(sparsifier=method, sparsity=0.5)
    trial(sparsifier={**method, "final_prune_rate": 0.01}, sparsity=0.5)


@pytest.mark.parametrize(("rate", "count"), [(0.1, 1), (0.14, 1), (0.16, 2), (0.5, 5), (0.999, 10), (0.01, 0)])
def test_number_to_drop_is_the_nearest_integer(rate: float, count: int) -> None:
    assert num_to_drop(torch.arange(12) < 10, rate).tolist() == count


def test_interval_is_at_least_one_step_and_constant_in_epochs() -> None:
    """A quarter of an epoch is 98 steps of 391, 30 of 118, or 1 of 1."""
    for steps_per_epoch, interval in ((391, 98), (118, 30), (1, 1)):
        steps = list(RigL().update_steps(TrainingSteps(200, steps_per_epoch)))
        assert steps[0] == steps[1] - steps[0] == interval
        assert steps[-1] <= 150 * steps_per_epoch < steps[-1] + interval


# Counts per layer -----------------------------------------------------------------------------------------------------


def test_counts_within_capacity_stay_unchanged() -> None:
    assert [count.tolist() for count in scale_to_capacity(tensors(3, 0, 5), 8)] == [3, 0, 5]
    assert [count.tolist() for count in scale_to_capacity(tensors(3, 0, 5), torch.tensor(100))] == [3, 0, 5]


def test_counts_above_capacity_are_scaled_down() -> None:
    """Counts 6 and 4. Capacity 5 gives half of each. Capacity 3 gives 1.8 and 1.2, rounded down."""
    assert [count.tolist() for count in scale_to_capacity(tensors(6, 4), 5)] == [3, 2]
    assert [count.tolist() for count in scale_to_capacity(tensors(6, 4), torch.tensor(3))] == [1, 1]
    assert [count.tolist() for count in scale_to_capacity(tensors(6, 4), 0)] == [0, 0]
    assert [count.tolist() for count in scale_to_capacity(tensors(0, 0), 0)] == [0, 0]


@pytest.mark.parametrize(
    ("total", "shares", "capacity", "counts"),
    [
        (10, [1, 1, 3], [9, 9, 9], [2, 2, 6]),
        # 3.33 each. The first of equal remainders is rounded up.
        (10, [1, 1, 1], [9, 9, 9], [4, 3, 3]),
        # The third layer takes 4 of its 6. Of the remaining 6 the second gets three times as many as the first: 4.5.
        (10, [1, 3, 6], [9, 9, 4], [2, 4, 4]),
        (10, [0, 1, 9], [9, 9, 4], [0, 6, 4]),
        # Layers with free capacity have share 0. The remaining weights follow the capacities, 2 : 4.
        (6, [0, 0, 9], [2, 4, 3], [1, 2, 3]),
        (3, [0, 0], [2, 4], [1, 2]),
        (0, [1, 2], [3, 3], [0, 0]),
        (6, [1, 2], [3, 3], [3, 3]),
        (0, [1.0], [0], [0]),
    ],
)
def test_proportional_allocation_by_hand(
    total: int, shares: list[float], capacity: list[int], counts: list[int]
) -> None:
    assert allocate_proportionally(total, shares, capacity) == counts


def test_total_above_capacity_is_an_error() -> None:
    with pytest.raises(ValueError, match="7 weights do not fit into 6 positions"):
        allocate_proportionally(7, [1, 1], [2, 4])


layers = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), st.integers(0, 10**7)), min_size=1, max_size=40
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(layers, st.floats(0, 1))
def test_proportional_allocation_is_exact_and_within_capacity(layers: list[tuple[float, int]], part: float) -> None:
    shares, capacity = [list(column) for column in zip(*layers, strict=True)]
    total = int(part * sum(capacity))
    counts = allocate_proportionally(total, shares, capacity)
    assert sum(counts) == total
    assert all(0 <= count <= free for count, free in zip(counts, capacity, strict=True))
    # Layers that are not full get weights in proportion to their shares, except for rounding.
    if sum(shares) > 0:
        open_layers = [layer for layer, count in enumerate(counts) if count < capacity[layer] - 1 and shares[layer] > 0]
        for one in open_layers:
            for other in open_layers:
                ratio = shares[one] / shares[other]
                assert counts[one] <= ratio * (counts[other] + 1) + 1 + 1e-6 * counts[one]


# Selection ------------------------------------------------------------------------------------------------------------


def test_top_k_ranks_only_candidates_and_selects_the_earlier_of_ties() -> None:
    scores = torch.tensor([9.0, 1.0, 5.0, 5.0, -2.0])
    assert top_k_within(scores, mask(0, 1, 1, 1, 1), 2).int().tolist() == [0, 0, 1, 1, 0]
    assert top_k_within(scores, mask(0, 1, 1, 1, 1), torch.tensor(1)).int().tolist() == [0, 0, 1, 0, 0]
    assert top_k_within(scores, mask(0, 1, 0, 0, 1), 9).int().tolist() == [0, 1, 0, 0, 1]
    assert top_k_within(scores, mask(1, 1, 1, 1, 1), 0).int().tolist() == [0, 0, 0, 0, 0]


def test_bottom_k_ranks_groups_separately_within_a_common_capacity() -> None:
    importance = torch.tensor([4.0, 3.0, 2.0, 1.0, 40.0, 30.0, 20.0, 10.0])
    groups = [(torch.arange(8) < 4, torch.tensor(2)), (torch.arange(8) >= 4, torch.tensor(2))]
    assert bottom_k_within(importance, groups, 8).int().tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert bottom_k_within(importance, groups, 2).int().tolist() == [0, 0, 0, 1, 0, 0, 0, 1]


def test_selection_keeps_the_shape() -> None:
    scores = torch.arange(6.0).view(1, 2, 3)
    assert top_k_within(scores, torch.ones(1, 2, 3, dtype=torch.bool), 2).tolist() == [
        [[False] * 3, [False, True, True]]
    ]
