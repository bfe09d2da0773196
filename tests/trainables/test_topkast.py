"""Top-KAST: active set, trained set, decay by the exploration loss, and weights that become active again."""

from __future__ import annotations

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.topkast import ExplorationPenaltyParams, TopKAST
from sparsweep.trainables.specs import distributions
from support.mask_updates import bits, update_context
from support.softmax_regression import DECAY, LAYER, LR, flat, gradient
from support.tiny_trials import create_trainer, trial

VALUES = {"a": torch.tensor([0.9, -0.8, 0.1, 0.2]), "b": torch.tensor([0.7, 0.6, 0.5, -0.4])}


def test_global_distribution_keeps_the_largest_weights_of_the_network() -> None:
    method = TopKAST(distribution="global")
    masks = Masks({name: torch.arange(4) < 2 for name in VALUES})
    assert bits(method.update(masks, update_context(VALUES))) == {"a": [1, 1, 0, 0], "b": [1, 1, 0, 0]}
    masks = Masks({name: torch.arange(4) < 3 for name in VALUES})
    assert bits(method.update(masks, update_context(VALUES))) == {"a": [1, 1, 0, 0], "b": [1, 1, 1, 1]}


def test_erk_distribution_keeps_the_largest_weights_of_each_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(8, 9, generator=generator), "b": 100 * torch.randn(30, 40, generator=generator)}
    masks = TopKAST().largest(weights, 318)
    densities = distributions.erk({"a": (8, 9), "b": (30, 40)}, 318 / 1272)
    for name, weight in weights.items():
        assert masks.counts()[name] == pytest.approx(densities[name] * weight.numel(), abs=1)
        kept, dropped = (weight[part].abs() for part in (masks[name], ~masks[name]))
        assert kept.min() >= dropped.max()


def trained_set(masks: Masks, margin: float) -> Masks:
    return TopKAST(distribution="global", margin=margin).trained_set(VALUES, masks)


def test_trained_set_adds_the_next_largest_weights() -> None:
    """Three of eight weights are active. A quarter of all, two more, are trained: 0.6 and 0.5 are next."""
    masks = Masks({"a": torch.tensor([1, 1, 0, 0]).bool(), "b": torch.tensor([1, 0, 0, 0]).bool()})
    assert bits(trained_set(masks, 0.25)) == {"a": [1, 1, 0, 0], "b": [1, 1, 1, 0]}
    assert bits(trained_set(masks, 0.0)) == bits(masks)
    assert bits(trained_set(masks, 0.9)) == {"a": [1] * 4, "b": [1] * 4}


def test_active_weights_are_trained_even_if_they_are_small() -> None:
    masks = Masks({"a": torch.tensor([0, 0, 1, 0]).bool(), "b": torch.tensor([0, 0, 0, 0]).bool()})
    assert bits(trained_set(masks, 0.125)) == {"a": [1, 1, 1, 0], "b": [0] * 4}


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_two_steps_by_hand(momentum: float) -> None:
    """Six of twelve weights are active, nine are trained.

    The three others of the trained set decay at 1 / D = 2 times the rate. Weights outside the set do not change.
    """
    run = flat({"name": "topkast", "distribution": "global", "margin": 0.25, "update_every": 4}, 0.5, momentum=momentum)
    assert isinstance(run.masked_params, ExplorationPenaltyParams)
    values, velocity = run.masked_params.dense_values()[LAYER].clone(), torch.zeros(3, 4)
    order = values.abs().flatten().argsort(descending=True)
    active, trained = (torch.zeros(12).index_fill(0, order[:count], 1.0).view(3, 4).bool() for count in (6, 9))
    assert torch.equal(run.masks[LAYER], active) and torch.equal(run.masked_params.trainable[LAYER], trained)
    for _ in range(2):
        slope = gradient(run) + DECAY * values * torch.where(active, 1.0, 2.0)
        velocity = (momentum * velocity + slope) * trained
        values = values - LR * velocity
        run.train_epoch()
        assert torch.allclose(run.masked_params.dense_values()[LAYER], values, rtol=1e-4, atol=1e-6)
        assert torch.allclose(run.weights[LAYER].detach(), values * active, rtol=1e-4, atol=1e-6)
    initial = flat({"name": "topkast", "distribution": "global", "margin": 0.25}, 0.5).masked_params.dense_values()[
        LAYER
    ]
    assert torch.equal(run.masked_params.dense_values()[LAYER][~trained], initial[~trained])


def test_larger_trained_weight_replaces_an_active_one_and_keeps_its_value() -> None:
    run = flat({"name": "topkast", "distribution": "global", "margin": 0.25, "update_every": 1}, 0.5)
    assert isinstance(run.masked_params, ExplorationPenaltyParams)
    masks, trained = run.masks[LAYER], run.masked_params.trainable[LAYER]
    newcomer = (trained & ~masks).nonzero()[0]
    run.masked_params.latent[LAYER][tuple(newcomer)] = 5.0
    run.train_epoch()
    value = run.masked_params.dense_values()[LAYER][tuple(newcomer)].clone()
    assert value > 4 and not run.masks[LAYER][tuple(newcomer)]
    run.masked_params.set_masks(run.spec.sparsifier.update(run.masks, update_context(run.masked_params.dense_values())))
    assert run.masks[LAYER][tuple(newcomer)] and run.weights[LAYER].detach()[tuple(newcomer)] == value
    dropped = masks & ~run.masks[LAYER]
    assert int(dropped.sum()) == 1 and run.masked_params.latent[LAYER][dropped] != 0


def test_step_flops_include_gradients_of_the_trained_set(digits: DeviceData) -> None:
    """Forward pass and activation gradients have the density of A, weight gradients the density of B."""
    recipe = {"preset": "digits", "epochs": 2}
    method = {"name": "topkast", "margin": 0.2, "update_every": 2}
    run = create_trainer(trial(sparsifier=method, sparsity=0.8, recipe=recipe), digits, samples=50)
    assert isinstance(run.masked_params, ExplorationPenaltyParams)
    trained = run.masked_params.trainable.counts()
    assert sum(trained.values()) == pytest.approx(0.4 * run.masks.size, abs=len(trained))
    backward = sum(run.layer_flops[name] * trained[name] / mask.numel() for name, mask in run.masks.items())
    run.train_epoch()
    assert run.train_flops == pytest.approx((2 * run.forward_flops + backward) * 50, rel=1e-12)
    assert run.forward_flops < backward < sum(run.layer_flops.values())
