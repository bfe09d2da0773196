"""RigL: it drops the smallest weights and grows the largest gradients. FLOPs of an update."""

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
from support.tiny_trials import create_trainer, trial

WEIGHTS = {"a": torch.tensor([0.5, -0.4, 0.3, -0.2, 0.1, -0.6, 0.0, 0.0, 0.0, 0.0])}
ACTIVE = Masks({"a": mask(1, 1, 1, 1, 1, 1, 0, 0, 0, 0)})
# Active weights, including the dropped ones (0.1 and -0.2), have the largest gradients. They must not be ranked.
GRADIENTS = {"a": torch.tensor([9.0, 9.0, 9.0, -9.0, 9.0, 9.0, 0.1, -0.8, 0.3, 0.2])}


def test_update_by_hand() -> None:
    """A third of six is dropped: 0.1 and -0.2. Positions 7 and 8 grow: |-0.8| and 0.3 are the largest gradients."""
    after = RigL(prune_rate=1 / 3).update(ACTIVE, update_context(WEIGHTS, gradients=GRADIENTS))
    assert bits(after) == {"a": [1, 1, 1, 0, 0, 1, 0, 1, 1, 0]}


def test_signs_are_not_ranked_separately() -> None:
    """Half of four is dropped: the two negative weights, which are the smallest."""
    weights = {"a": torch.tensor([1.0, 2.0, -0.1, -0.2, 0.0, 0.0])}
    gradients = {"a": torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])}
    after = RigL(prune_rate=0.5).update(
        Masks({"a": mask(1, 1, 1, 1, 0, 0)}), update_context(weights, gradients=gradients)
    )
    assert bits(after) == {"a": [1, 1, 0, 0, 1, 1]}


def test_dropped_weight_may_grow_back_with_regrow_dropped() -> None:
    """As in the paper. 0.1 and -0.2 are dropped and then have the largest gradients of all masked positions."""
    method = RigL(prune_rate=1 / 3, regrow_dropped=True)
    assert bits(method.update(ACTIVE, update_context(WEIGHTS, gradients=GRADIENTS))) == bits(ACTIVE)


def test_each_layer_keeps_its_count() -> None:
    """The gradients of layer ``b`` are much larger than those of layer ``a``."""
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
def test_masked_weights_with_the_largest_gradients_grow(
    size: int, density: float, rate: float, seed: int, levels: int | None
) -> None:
    """A dropped weight never grows back. Few levels give many ties."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(size, generator=generator) < density
    weights, gradients = (torch.randn(size, generator=generator) for _ in range(2))
    if levels is not None:
        weights, gradients = ((value * levels).round() for value in (weights, gradients))
    weights = weights * active
    after = RigL(prune_rate=rate).update(
        Masks({"a": active}), update_context({"a": weights}, gradients={"a": gradients}, generator=generator)
    )["a"]
    dropped, grown, empty = active & ~after, after & ~active, ~after & ~active
    assert (
        int(dropped.sum()) == int(grown.sum()) == min(round_half_even(rate * int(active.sum())), int((~active).sum()))
    )
    if grown.any() and empty.any():
        assert gradients[grown].abs().min() >= gradients[empty].abs().max()
    if dropped.any() and (active & after).any():
        assert weights[dropped].abs().max() <= weights[active & after].abs().min()


def round_half_even(value: float) -> int:
    """Round in single precision, as the device does."""
    return int(torch.tensor(value, dtype=torch.float32).round())


def start(digits: DeviceData, samples: int = 50, **fields: object) -> Trainer:
    method = {"name": "rigl", "update_every": 1, "stop_fraction": 1, **fields}
    recipe = {"preset": "digits", "epochs": 2}
    return create_trainer(trial(sparsifier=method, sparsity=0.8, recipe=recipe), digits, samples=samples)


def test_update_uses_the_dense_gradient_of_the_next_batch(digits: DeviceData) -> None:
    """The test computes the cross-entropy gradient with a copy of the network in training mode."""
    run = start(digits)
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
            # The gradients of two passes differ in the last bits.
            assert weight.grad[grown].abs().min() >= weight.grad[empty].abs().max() * (1 - 1e-4)
        assert not run.weights[name].detach()[grown].any()
    assert any((run.masks[name] & ~masks[name]).any() for name in masks)


def test_update_costs_a_dense_gradient_of_its_batch(digits: DeviceData) -> None:
    """Two epochs with batches of 32 and 18. Updates run before the third step and after the fourth.

    An image costs 3 f_S per step, plus 2 f_S + f_D if its batch is used for an update. The paper averages over an
    interval dT: (3 f_S dT + 2 f_S + f_D) / (dT + 1). It counts the update as one step in addition to dT steps. Here
    the update belongs to one of the dT steps. The sum is the same, over one step less.
    """
    run = start(digits)
    sparse, dense = run.forward_flops, sum(run.layer_flops.values())
    assert run.update_steps == {2, 4} and sparse < dense
    for _ in range(2):
        run.train_epoch()
    assert run.forward_flops == pytest.approx(sparse, rel=1e-12)
    assert run.train_flops == pytest.approx(3 * sparse * 100 + (2 * sparse + dense) * (32 + 18), rel=1e-12)
