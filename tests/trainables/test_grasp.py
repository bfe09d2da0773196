"""GraSP: Hessian-gradient product against finite differences, sign by hand, and counted cost."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from sparsweep.trainables.models import maskable
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers.masks import top_k_global
from sparsweep.trainables.sparsifiers.saliency import grasp_scores, hessian_product, sum_of_gradients
from sparsweep.trainables.training.flops import layer_flops
from support.smooth_network import batch, network
from support.tiny_trials import create_trainer, trial

WIDTH = 1e-5


def softened_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits / 2, labels)


@pytest.mark.parametrize("count", [1, 2])
def test_hessian_product_equals_a_finite_difference_of_gradients(count: int) -> None:
    """The difference is (g(w + h v) - g(w - h v)) / 2 h for a random direction v."""
    probe, batches = network().train(), [batch(seed) for seed in range(count)]
    weights = maskable(probe)
    generator = torch.Generator().manual_seed(3)
    vector = {name: torch.randn(w.shape, generator=generator, dtype=torch.float64) for name, w in weights.items()}
    found = hessian_product(probe, weights, batches, softened_loss, vector)
    gradients_at = []
    for shift in (WIDTH, -2 * WIDTH):
        for name, weight in weights.items():
            weight.data += shift * vector[name]
        gradients_at.append(sum_of_gradients(probe, weights, batches, softened_loss))
    for name in weights:
        assert torch.allclose(
            found[name], (gradients_at[0][name] - gradients_at[1][name]) / (2 * WIDTH), rtol=1e-5, atol=1e-9
        ), name


def test_score_is_the_weight_times_the_derivative_of_half_the_squared_gradient_norm() -> None:
    """For each weight w (H g) = w d(g'g / 2)/dw, the first-order decrease of half the squared norm without it."""
    model, temperature = network(), 2.0
    scores = grasp_scores(model, [batch()], temperature)
    probe = copy.deepcopy(model).train()
    weights = maskable(probe)

    def half_norm() -> float:
        gradients = sum_of_gradients(probe, weights, [batch()], softened_loss)
        return sum(float((gradient**2).sum()) for gradient in gradients.values()) / 2

    for name, weight in weights.items():
        flat = weight.data.view(-1)
        for position in range(len(flat)):
            value = flat[position].item()
            norms = []
            for shift in (WIDTH, -WIDTH):
                flat[position] = value + shift
                norms.append(half_norm())
            flat[position] = value
            slope = (norms[0] - norms[1]) / (2 * WIDTH)
            assert scores[name].view(-1)[position].item() == pytest.approx(value * slope, rel=1e-4, abs=1e-9), (
                name,
                position,
            )


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_sign_and_size_by_hand(temperature: float) -> None:
    """Pixel 1, two equal logits, label 0: g = (-0.5, 0.5) / T, H = 0.25 [[1, -1], [-1, 1]] / T^2, w = (2, 2).

    H g = (-0.25, 0.25) / T^3, so the scores are (-0.5, 0.5) / T^3. Without the first weight the gradient would be
    larger (the logit of the label falls), without the second smaller. The second weight is kept.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data.fill_(2.0)
    model.double()
    image, label = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.tensor([0])
    scores = grasp_scores(model, [(image, label)], temperature)
    assert scores["1.weight"].flatten().tolist() == pytest.approx([-0.5 / temperature**3, 0.5 / temperature**3])
    assert top_k_global(scores, 1)["1.weight"].flatten().tolist() == [False, True]


def test_scoring_does_not_change_the_network() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    grasp_scores(model, [batch()], 200.0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_masks_are_the_largest_scores_of_the_batches(digits: DeviceData) -> None:
    spec = trial(sparsifier={"name": "grasp", "batches": 2}, sparsity=0.7)
    run = create_trainer(spec, digits)
    dense = create_trainer(trial(), digits)
    batches = [dense._mask_batch(number) for number in (0, 1)]
    scores = grasp_scores(dense.model, batches, 200.0)
    assert run.masks.equal(top_k_global(scores, sum(run.masks.counts().values())))
    assert not run.masks.equal(create_trainer(trial(sparsifier="grasp", sparsity=0.7), digits).masks)


def test_operations_are_twelve_forward_passes_except_in_the_first_layer() -> None:
    """The input of the first layer needs no gradient. Each other layer of a chain costs exactly 12 forward passes."""
    layers = [layer for _ in range(5) for layer in (nn.Linear(16, 16, bias=False), nn.Softplus())]
    shape, counts = (1, 4, 4), []
    for depth in (6, 10):
        model = nn.Sequential(nn.Flatten(), *layers[:depth])
        with FlopCounterMode(display=False) as counter:
            grasp_scores(model, [(torch.rand(7, *shape), torch.arange(7))], 200.0)
        counts.append((counter.get_total_flops(), sum(layer_flops(model, shape).values())))
    (flops_3, forward_3), (flops_5, forward_5) = counts
    assert flops_5 - flops_3 == 12 * 7 * (forward_5 - forward_3)


def test_the_cost_of_scoring_is_counted(digits: DeviceData) -> None:
    run = create_trainer(trial(sparsifier={"name": "grasp", "batches": 2}, sparsity=0.7), digits)
    assert run.train_flops == 12 * sum(run.layer_flops.values()) * 32 * 2
    assert math.isfinite(run.train_epoch().train_loss)
