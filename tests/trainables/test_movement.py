"""Movement pruning: hand-computed scores, the weights they keep, and the values of weights that grow back."""

from __future__ import annotations

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.masked_params import LatentParams
from sparsweep.trainables.sparsifiers.movement import Movement
from support.mask_updates import bits, update_context, update_now
from support.softmax_regression import LAYER, LR, flat, gradient
from support.tiny_trials import create_trainer, trial


def test_scores_rise_for_weights_that_move_away_from_zero() -> None:
    """The score adds -w g. It rises for a positive weight with a negative gradient, and for the opposite signs."""
    context = update_context(
        {"a": torch.tensor([2.0, 2.0, -3.0, -3.0, 0.0])}, state={"a": torch.tensor([1.0, 0, 0, 0, 0])}
    )
    gradients = {"a": torch.tensor([-0.5, 0.5, 0.1, -0.1, 9.0])}
    Movement().on_gradients(context, gradients)
    assert context.state["a"].tolist() == pytest.approx([2.0, -1.0, 0.3, -0.3, 0.0])
    Movement().on_gradients(context, gradients)
    assert context.state["a"].tolist() == pytest.approx([3.0, -2.0, 0.6, -0.6, 0.0])


def test_largest_scores_are_kept_whatever_the_magnitudes() -> None:
    """End of the pruning interval: three of six weights stay at sparsity 0.5."""
    scores = {"a": torch.tensor([0.1, 0.5, -0.9]), "b": torch.tensor([0.3, -0.1, 0.2])}
    weights = {"a": torch.tensor([9.0, 0.1, 9.0]), "b": torch.tensor([0.1, 9.0, 0.0])}
    masks = Masks.full(weights)
    assert bits(Movement().update(masks, update_context(weights, 80, state=scores))) == {"a": [0, 1, 0], "b": [1, 0, 1]}


def test_scores_of_two_steps_by_hand() -> None:
    """Softmax regression without weight decay or momentum. Half of the weights are masked before the second step.

    The scores of masked weights continue with their latent values and dense gradients.
    """
    method = {"name": "movement", "update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.25}
    run = flat(method, 0.5, weight_decay=0.0)
    assert isinstance(run.masked_params, LatentParams) and run.update_steps == {1}
    before, slope = run.weights[LAYER].detach().clone(), gradient(run)
    run.train_epoch()
    scores, values = -before * slope, before - LR * slope
    assert torch.allclose(run.sparsifier_state[LAYER], scores, rtol=1e-4, atol=1e-7)
    kept = torch.zeros(12).index_fill(0, scores.flatten().argsort(descending=True)[:6], 1.0).view(3, 4).bool()
    update_now(run, 1)
    assert torch.equal(run.masks[LAYER], kept)
    slope = gradient(run)
    run.update_steps = frozenset()
    run.train_epoch()
    assert torch.allclose(run.sparsifier_state[LAYER], scores - values * slope, rtol=1e-4, atol=1e-6)
    assert torch.allclose(run.masked_params.dense_values()[LAYER], values - LR * slope * kept, rtol=1e-4, atol=1e-6)


def test_masked_weight_grows_back_with_its_value() -> None:
    run = flat({"name": "movement", "start_fraction": 0.25, "stop_fraction": 0.25, "update_every": 1}, 0.5)
    run.train_epoch()
    update_now(run, 1)
    values, masked = run.masked_params.dense_values()[LAYER].clone(), ~run.masks[LAYER]
    run.sparsifier_state[LAYER][masked] += 100.0
    update_now(run, 1)
    assert torch.equal(run.masks[LAYER], masked)
    assert torch.equal(run.weights[LAYER].detach(), values * masked)
    assert torch.equal(run.masked_params.dense_values()[LAYER], values)


def test_step_flops_include_gradients_of_all_weights(digits: DeviceData) -> None:
    """2 f_S + f_D per image. Three quarters of the weights are masked before the third of four steps."""
    method = {"name": "movement", "update_every": 1, "start_fraction": 0.5, "stop_fraction": 0.5}
    run = create_trainer(trial(sparsifier=method, sparsity=0.75), digits, samples=50)
    dense = sum(run.layer_flops.values())
    for _ in range(2):
        run.train_epoch()
    assert run.density == pytest.approx(0.25, abs=1e-3) and run.forward_flops < dense
    assert run.train_flops == pytest.approx(3 * dense * 50 + (2 * run.forward_flops + dense) * 50, rel=1e-12)
