"""Masks on tensors small enough to check by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.sparsifiers.masks import (
    Masks,
    largest,
    num_active,
    random_per_layer,
    ranks,
    top_k_global,
    top_k_per_layer,
    uniform_scores,
)


def tensors(*rows: list[float]) -> dict[str, torch.Tensor]:
    return {f"layer{index}": torch.tensor(row) for index, row in enumerate(rows)}


def as_numbers(masks: Masks) -> dict[str, list[int]]:
    return {name: mask.int().tolist() for name, mask in masks.items()}


def test_masks_count_weights_by_layer_and_in_total() -> None:
    masks = Masks({"b": torch.tensor([True, False, True]), "a": torch.tensor([[False], [True]])})
    assert list(masks) == ["b", "a"] and len(masks) == 2
    assert masks.counts() == {"b": 2, "a": 1}
    assert masks.size == 5
    assert masks.density() == 3 / 5


def test_masks_must_be_boolean() -> None:
    with pytest.raises(TypeError, match=r"mask a: must be boolean \(got torch\.float32\)"):
        Masks({"a": torch.ones(2)})


def test_full_masks_keep_all_weights() -> None:
    assert as_numbers(Masks.full(tensors([0.0, -1.0], [2.0]))) == {"layer0": [1, 1], "layer1": [1]}


def test_equal_compares_names_order_and_values() -> None:
    one, two = torch.tensor([True, False]), torch.tensor([True, True])
    assert Masks({"a": one, "b": two}).equal(Masks({"a": one.clone(), "b": two}))
    assert not Masks({"a": one, "b": two}).equal(Masks({"b": two, "a": one}))
    assert not Masks({"a": one}).equal(Masks({"a": two}))


def test_masks_do_not_change_with_the_original_mapping() -> None:
    mapping = {"a": torch.tensor([True])}
    masks = Masks(mapping)
    mapping["b"] = torch.tensor([True])
    assert list(masks) == ["a"]


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [
        (10, 0.0, 10),
        (10, 0.5, 5),
        (10, 0.94, 1),
        (10, 0.99, 1),
        (360, 0.8, 72),
        (7, 0.3, 5),
        (11_210_432, 0.9, 1_121_043),
    ],
)
def test_num_active(total: int, sparsity: float, kept: int) -> None:
    assert num_active(total, sparsity) == kept


def test_ranks_of_ties_favor_earlier_positions() -> None:
    assert ranks(torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0])).tolist() == [3, 0, 4, 1, 2]


def test_ranks_keep_the_shape() -> None:
    assert ranks(torch.tensor([[1.0, 4.0], [3.0, 2.0]])).tolist() == [[3, 0], [1, 2]]


def test_ranks_of_equal_values_are_their_positions() -> None:
    assert torch.equal(ranks(torch.zeros(10_000)), torch.arange(10_000))


@given(
    st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0, math.inf, -math.inf]) | st.floats(-2, 2, width=32)),
    st.integers(-1, 30),
    st.booleans(),
)
def test_largest_selects_the_first_ranks(values: list[float], count: int, as_tensor: bool) -> None:
    """A CPU selects by a threshold, a GPU by ranks. Both give the same mask."""
    scores = torch.tensor(values, dtype=torch.float32).view(-1, 1)
    found = largest(scores, torch.tensor(count) if as_tensor else count)
    assert found.dtype == torch.bool and torch.equal(found, ranks(scores) < count)


def test_nan_ranks_as_largest() -> None:
    """NaN means that training has diverged, as the loss shows. The number of weights stays correct meanwhile."""
    scores = torch.tensor([1.0, math.nan, 3.0, math.nan])
    assert [largest(scores, count).tolist() for count in (1, 3)] == [
        [False, True, False, False],
        [False, True, True, True],
    ]


def test_top_k_is_global_by_hand() -> None:
    masks = top_k_global(tensors([0.1, 0.9, 0.5], [0.6, 0.2]), 3)
    assert as_numbers(masks) == {"layer0": [0, 1, 1], "layer1": [1, 0]}


def test_top_k_is_exact_when_all_scores_are_equal() -> None:
    masks = top_k_global(tensors([0.0, 0.0, 0.0], [0.0, 0.0]), 4)
    assert as_numbers(masks) == {"layer0": [1, 1, 1], "layer1": [1, 0]}


def test_top_k_keeps_shapes() -> None:
    scores = {"a": torch.arange(6.0).view(1, 2, 3), "b": torch.arange(2.0).view(2, 1)}
    assert {name: mask.shape for name, mask in top_k_global(scores, 3).items()} == {"a": (1, 2, 3), "b": (2, 1)}


def test_top_k_per_layer_by_hand() -> None:
    masks = top_k_per_layer(tensors([0.1, 0.9, 0.5], [0.6, 0.2]), {"layer0": 1, "layer1": 2})
    assert as_numbers(masks) == {"layer0": [0, 1, 0], "layer1": [1, 1]}


@settings(deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    levels=st.integers(1, 3),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_top_k_counts_are_exact_with_ties(sizes: list[int], levels: int, seed: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {
        str(index): torch.randint(levels, (size,), generator=generator).float() for index, size in enumerate(sizes)
    }
    count = data.draw(st.integers(0, sum(sizes)))
    masks = top_k_global(scores, count)
    assert sum(masks.counts().values()) == count
    kept = torch.cat([scores[name][mask] for name, mask in masks.items()])
    dropped = torch.cat([scores[name][~mask] for name, mask in masks.items()])
    assert not len(kept) or not len(dropped) or kept.min() >= dropped.max()


def test_random_per_layer_is_exact_and_depends_on_the_generator() -> None:
    weights = tensors([0.0] * 50, [0.0] * 30)
    counts = {"layer0": 20, "layer1": 7}

    def draw(seed: int) -> Masks:
        return random_per_layer(weights, counts, torch.Generator().manual_seed(seed))

    assert draw(0).counts() == counts
    assert draw(0).equal(draw(0))
    assert not draw(0).equal(draw(1))


def test_random_per_layer_is_uniform() -> None:
    """Each of ten positions is kept in 30 % of 2000 draws, within five standard deviations."""
    generator = torch.Generator().manual_seed(0)
    total = sum(random_per_layer(tensors([0.0] * 10), {"layer0": 3}, generator)["layer0"].int() for _ in range(2000))
    assert isinstance(total, torch.Tensor)
    assert (total - 600).abs().max() < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_uniform_scores_lie_in_the_unit_interval() -> None:
    scores = uniform_scores({"a": torch.zeros(3, 1000)}, torch.Generator().manual_seed(0))["a"]
    assert scores.shape == (3, 1000) and 0 <= scores.min() < 0.01 and 0.99 < scores.max() < 1
