"""Bayesian connectivity: fixed signs, connections that become dormant, and the random draw of new connections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.bayesian_connectivity import (
    BayesianConnectivity,
    SignConstrainedParams,
    draw_layers,
    draw_positions,
)
from sparsweep.trainables.training.trainer import Trainer
from support.mask_updates import mask, update_context
from support.softmax_regression import LAYER, LR, flat, gradient
from support.tiny_trials import create_trainer, trial


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# The draw -------------------------------------------------------------------------------------------------------------


def test_layers_are_drawn_in_proportion_to_their_sizes() -> None:
    """40,000 draws among layers with 0.1, 0.2, 0.5 and 0.2 of the weights: counts within five standard deviations."""
    counts = draw_layers(40_000, [100, 200, 500, 200], [10**6] * 4, rng())
    for count, part in zip(counts, (0.1, 0.2, 0.5, 0.2), strict=True):
        assert abs(count - 40_000 * part) < 5 * (40_000 * part * (1 - part)) ** 0.5


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 2**31))
def test_no_layer_gets_more_than_its_free_positions(num_free: list[int], part: float, seed: int) -> None:
    count = int(part * sum(num_free))
    counts = draw_layers(count, [max(1, 2 * free) for free in num_free], num_free, rng(seed))
    assert sum(counts) == count and all(0 <= found <= free for found, free in zip(counts, num_free, strict=True))


def test_positions_are_drawn_uniformly_among_the_free_ones() -> None:
    """Draw two of five free positions 4000 times. Each is drawn with chance 2/5, within five standard deviations."""
    free, total = mask(1, 0, 1, 1, 0, 0, 1, 1).view(2, 4), torch.zeros(2, 4)
    draws = rng()
    for _ in range(4000):
        drawn = draw_positions(free, 5, 2, draws)
        assert int(drawn.sum()) == 2 and not (drawn & ~free).any()
        total += drawn
    assert (total[free] - 1600).abs().max() < 5 * (4000 * 0.4 * 0.6) ** 0.5


@pytest.mark.parametrize("count", [0, 5])
def test_drawing_no_position_and_all_positions(count: int) -> None:
    free = mask(1, 0, 1, 1, 0, 0, 1, 1)
    assert int(draw_positions(free, 5, count, rng()).sum()) == count


# An update ------------------------------------------------------------------------------------------------------------


def test_zero_weights_become_dormant_and_as_many_become_active() -> None:
    masks = Masks({"a": mask(1, 1, 1, 0, 0), "b": mask(1, 0)})
    weights = {"a": torch.tensor([0.5, 0.0, -0.1, 0.0, 0.0]), "b": torch.tensor([0.0, 0.0])}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        after = BayesianConnectivity().update(masks, update_context(weights, generator=generator))
        assert sum(after.counts().values()) == 4
        assert after["a"][0] and after["a"][2]


def test_without_dormant_connections_nothing_changes() -> None:
    masks = Masks({"a": mask(1, 1, 0, 0)})
    assert BayesianConnectivity().update(masks, update_context({"a": torch.tensor([1.0, -1.0, 0.0, 0.0])})).equal(masks)


def test_weights_move_between_layers_at_a_constant_total(digits: DeviceData) -> None:
    run = started_run(digits)
    first = run.masks
    for _ in range(3):
        run.train_epoch()
        assert sum(run.masks.counts().values()) == sum(first.counts().values())
    assert run.masks.counts() != first.counts()


# Signs ----------------------------------------------------------------------------------------------------------------


def started_run(digits: DeviceData) -> Trainer:
    recipe = {"preset": "digits", "epochs": 3, "lr": 0.1}
    return create_trainer(trial(sparsifier="bayesian_connectivity", sparsity=0.8, recipe=recipe), digits, samples=64)


def test_no_weight_changes_its_sign(digits: DeviceData) -> None:
    run, dense = started_run(digits), create_trainer(trial(), digits)
    signs = {name: weight.detach().sign() for name, weight in dense.weights.items()}
    for _ in range(3):
        run.train_epoch()
        for name, weight in run.weights.items():
            assert not (weight.detach() * signs[name] < 0).any()
    assert run.masked_params.ever_active.density() > run.density


def test_a_step_by_hand_stops_at_zero() -> None:
    """Softmax regression with a learning rate that moves some of the twelve weights past zero."""
    run = flat(
        {"name": "bayesian_connectivity", "noise": 0.0, "update_interval": 10}, 0.25, lr=LR * 10, weight_decay=0.0
    )
    assert isinstance(run.masked_params, SignConstrainedParams)
    before, grad = run.weights[LAYER].detach().clone(), gradient(run)
    run.train_epoch()
    unconstrained = (before - 10 * LR * grad) * run.masks[LAYER]
    crossed = unconstrained * before < 0
    assert crossed.any() and not crossed.all()
    found = run.weights[LAYER].detach()
    assert torch.allclose(found, torch.where(crossed, 0.0, unconstrained), rtol=1e-4, atol=1e-6)
    assert not found[crossed].any()


# Prior and noise ------------------------------------------------------------------------------------------------------


def test_the_l1_penalty_moves_weights_towards_zero() -> None:
    gradients = {"a": torch.tensor([1.0, 1.0, 1.0])}
    BayesianConnectivity(noise=0.0, l1=0.25).on_gradients(
        update_context({"a": torch.tensor([2.0, -3.0, 0.0])}), gradients
    )
    assert gradients["a"].tolist() == [1.25, 0.75, 1.0]


def test_noise_has_its_standard_deviation_and_differs_between_steps() -> None:
    weights = {"a": torch.ones(100_000)}
    drawn = []
    for step in (1, 1, 2):
        gradients = {"a": torch.zeros(100_000)}
        BayesianConnectivity(noise=0.5).on_gradients(update_context(weights, step), gradients)
        drawn.append(gradients["a"])
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    for noise in drawn:
        assert abs(noise.mean()) < 5 * 0.5 / 100_000**0.5
        assert noise.std() == pytest.approx(0.5, rel=5 / (2 * 100_000) ** 0.5)


def test_gradients_of_dormant_connections_are_not_counted(digits: DeviceData) -> None:
    """3 f_S per image: the method reads the gradients of active connections only."""
    run = create_trainer(
        trial(sparsifier={"name": "bayesian_connectivity", "update_interval": 99}, sparsity=0.8), digits, 50
    )
    run.train_epoch()
    assert run.train_flops == pytest.approx(3 * run.forward_flops * 50, rel=1e-12)
