"""RigL: the smallest weights go, the largest gradients grow; what an update costs."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from sparsweep.trainables.models import maskable
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.rigl import RigL
from sparsweep.trainables.training.trainer import Trainer
from support.mask_updates import bits, mask, update_context, update_now
from support.tiny_trials import begin, trial

WEIGHTS = {"a": torch.tensor([0.5, -0.4, 0.3, -0.2, 0.1, -0.6, 0.0, 0.0, 0.0, 0.0])}
THERE = Masks({"a": mask(1, 1, 1, 1, 1, 1, 0, 0, 0, 0)})
# The largest gradients are those of weights that are there and of those that go (.1 and -.2): they do not count.
GRADIENTS = {"a": torch.tensor([9.0, 9.0, 9.0, -9.0, 9.0, 9.0, 0.1, -0.8, 0.3, 0.2])}


def test_by_hand() -> None:
    """A third of six: .1 and -.2 go; of the empty places |-.8| and .3 are the largest gradients: 7 and 8 grow."""
    after = RigL(prune_rate=1 / 3).update(THERE, update_context(WEIGHTS, gradients=GRADIENTS))
    assert bits(after) == {"a": [1, 1, 1, 0, 0, 1, 0, 1, 1, 0]}


def test_signs_are_not_ranked_apart() -> None:
    """Half of four: the two negative ones, which are the smallest."""
    weights = {"a": torch.tensor([1.0, 2.0, -0.1, -0.2, 0.0, 0.0])}
    gradients = {"a": torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])}
    after = RigL(prune_rate=0.5).update(
        Masks({"a": mask(1, 1, 1, 1, 0, 0)}), update_context(weights, gradients=gradients)
    )
    assert bits(after) == {"a": [1, 1, 0, 0, 1, 1]}


def test_as_in_the_paper_what_was_dropped_may_grow_back_where_asked_for() -> None:
    """.1 and -.2 go, and have the largest gradients of all places that are empty then."""
    method = RigL(prune_rate=1 / 3, regrow_dropped=True)
    assert bits(method.update(THERE, update_context(WEIGHTS, gradients=GRADIENTS))) == bits(THERE)


def test_layers_keep_their_own_counts() -> None:
    """However large the gradients of another layer are."""
    weights = {"a": torch.tensor([1.0, 2.0, 0.0, 0.0]), "b": torch.tensor([3.0, 4.0, 0.0, 0.0])}
    gradients = {"a": torch.tensor([0.0, 0.0, 0.1, 0.2]), "b": torch.tensor([0.0, 0.0, 9.0, 8.0])}
    masks = Masks({name: mask(1, 1, 0, 0) for name in weights})
    after = RigL(prune_rate=0.5).update(masks, update_context(weights, gradients=gradients))
    assert bits(after) == {"a": [0, 1, 0, 1], "b": [0, 1, 1, 0]}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 60),
    density=st.floats(0, 1),
    rate=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31),
    levels=st.one_of(st.none(), st.integers(1, 3)),
)
def test_the_largest_gradients_of_absent_weights_grow(
    size: int, density: float, rate: float, seed: int, levels: int | None
) -> None:
    """And never one that was just dropped; with few levels there are many ties."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(size, generator=generator) < density
    weights, gradients = (torch.randn(size, generator=generator) for _ in range(2))
    if levels is not None:
        weights, gradients = ((value * levels).round() for value in (weights, gradients))
    weights = weights * there
    after = RigL(prune_rate=rate).update(
        Masks({"a": there}), update_context({"a": weights}, gradients={"a": gradients}, generator=generator)
    )["a"]
    dropped, grown, empty = there & ~after, after & ~there, ~after & ~there
    assert int(dropped.sum()) == int(grown.sum()) == min(round_half_even(rate * int(there.sum())), int((~there).sum()))
    if grown.any() and empty.any():
        assert gradients[grown].abs().min() >= gradients[empty].abs().max()
    if dropped.any() and (there & after).any():
        assert weights[dropped].abs().max() <= weights[there & after].abs().min()


def round_half_even(value: float) -> int:
    """As the device rounds, in single precision."""
    return int(torch.tensor(value, dtype=torch.float32).round())


def begun(digits: DeviceData, samples: int = 50, **fields: object) -> Trainer:
    method = {"name": "rigl", "update_every": 1, "stop_fraction": 1, **fields}
    recipe = {"preset": "digits", "epochs": 2}
    return begin(trial(sparsifier=method, sparsity=0.8, recipe=recipe), digits, samples=samples)


def test_in_a_training_the_gradient_is_the_dense_one_of_the_coming_batch(digits: DeviceData) -> None:
    """Worked out apart, on a copy of the network in training mode, with cross-entropy."""
    run = begun(digits)
    run.train_epoch()
    run.model.train()
    masks, probe = run.masks, copy.deepcopy(run.model)
    images, labels = next(run.batches.iter_epoch(derive(run.spec.seed, "batches", run.epoch)))
    functional.cross_entropy(probe(images), labels).backward()
    update_now(run, 2)
    for name, weight in maskable(probe).items():
        assert weight.grad is not None
        grown, empty = run.masks[name] & ~masks[name], ~run.masks[name] & ~masks[name]
        if grown.any() and empty.any():
            # Two passes differ in the last bits.
            assert weight.grad[grown].abs().min() >= weight.grad[empty].abs().max() * (1 - 1e-4)
        assert not run.weights[name].detach()[grown].any()
    assert any((run.masks[name] & ~masks[name]).any() for name in masks)


def test_an_update_costs_a_dense_gradient_of_its_batch(digits: DeviceData) -> None:
    """Two epochs of batches of 32 and 18; updates before the third step and after the fourth.

    An image costs 3 f_S a step, and 2 f_S + f_D more where it is in the batch of an update. The paper's average for
    intervals of dT, (3 f_S dT + 2 f_S + f_D) / (dT + 1), counts the step of an update apart from the dT others; here
    it is one of them: the sum is the same, over one step less.
    """
    run = begun(digits)
    sparse, dense = run.forward_flops, sum(run.layer_flops.values())
    assert run.update_steps == {2, 4} and sparse < dense
    for _ in range(2):
        run.train_epoch()
    assert run.forward_flops == pytest.approx(sparse, rel=1e-12)
    assert run.train_flops == pytest.approx(3 * sparse * 100 + (2 * sparse + dense) * (32 + 18), rel=1e-12)
