"""SNIP: scores compared with finite differences, masks, and the unchanged network."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from sparsweep.trainables.models import maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import InitContext
from sparsweep.trainables.sparsifiers.masks import top_k_global
from sparsweep.trainables.sparsifiers.saliency import (
    LOSSES,
    LossName,
    connection_sensitivity,
    magnitudes,
    reinitialized,
)
from sparsweep.trainables.training.trainer import Trainer
from support.smooth_network import batch, network
from support.tiny_trials import create_trainer, four_pixels, raise_no_prerequisite, trial


def test_losses_by_hand() -> None:
    """Logits (0, ln 3), label 1: -ln(3/4) with the softmax, -ln 3 without (D1)."""
    logits, labels = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    assert LOSSES["cross_entropy"](logits, labels).item() == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert LOSSES["nll"](logits, labels).item() == pytest.approx(-math.log(3), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("count", [1, 2])
def test_score_is_weight_times_gradient_by_finite_differences(loss: LossName, count: int) -> None:
    model, batches, width = network(), [batch(seed) for seed in range(count)], 1e-5
    scores = connection_sensitivity(model, batches, LOSSES[loss])
    probe = copy.deepcopy(model).train()
    for name, weight in maskable(probe).items():
        flat, computed = weight.data.view(-1), scores[name].view(-1)
        for index in range(len(flat)):
            value = flat[index].item()
            losses = []
            for shift in (width, -width):
                flat[index] = value + shift
                losses.append(sum(LOSSES[loss](probe(images), labels).item() for images, labels in batches))
            flat[index] = value
            gradient = (losses[0] - losses[1]) / (2 * width)
            assert computed[index].item() == pytest.approx(abs(value * gradient), rel=1e-5, abs=1e-9), (name, index)


@pytest.mark.parametrize("mode", [True, False])
def test_scoring_does_not_change_the_network(mode: bool) -> None:
    model = network().train(mode)
    before = copy.deepcopy(model.state_dict())
    connection_sensitivity(model, [batch()])
    reinitialized(model, torch.Generator())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(module.training == mode for module in model.modules())


def test_scores_do_not_depend_on_the_mode_of_the_network() -> None:
    training, evaluating = (connection_sensitivity(network().train(mode), [batch()]) for mode in (True, False))
    assert all(torch.equal(training[name], evaluating[name]) for name in training)


def test_masks_keep_the_largest_sensitivities() -> None:
    spec, data = trial(sparsifier="snip", sparsity=0.7), four_pixels()
    model = build_model(spec, data)
    images, labels = torch.rand(6, 1, 8, 8), data.train_labels
    start = InitContext(spec, model, torch.Generator(), lambda number: (images, labels), raise_no_prerequisite)
    masks = spec.sparsifier.initialize(start)
    assert masks.equal(top_k_global(connection_sensitivity(model, [(images, labels)]), start.num_active))
    assert not masks.equal(top_k_global(magnitudes(start.weights), start.num_active))


def test_masks_depend_on_the_samples_of_the_trial(digits: DeviceData) -> None:
    """Equal subsets of the data give equal masks, other subsets give other masks."""
    spec = trial(sparsifier="snip", sparsity=0.7)
    first, again, other = (
        create_trainer(spec, digits, 40),
        create_trainer(spec, digits, 40),
        create_trainer(spec, digits, 41),
    )
    assert first.masks.equal(again.masks) and not first.masks.equal(other.masks)


def test_reinitialized_weights_are_xavier_normal_and_biases_are_kept() -> None:
    """Standard deviation sqrt(2 / (fan in + fan out)), with 16 x 9 in and 32 x 9 out (Glorot & Bengio 2010)."""
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Linear(200, 300))
    fresh = reinitialized(model, torch.Generator().manual_seed(0))
    assert fresh[0].weight.std().item() == pytest.approx(math.sqrt(2 / (48 * 9)), rel=0.05)
    assert fresh[2].weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.05)
    assert torch.equal(fresh[0].bias, model[0].bias) and not torch.equal(fresh[0].weight, model[0].weight)
    again = reinitialized(model, torch.Generator().manual_seed(0))
    assert torch.equal(again[2].weight, fresh[2].weight)


def begin_snip(digits: DeviceData, **fields: object) -> Trainer:
    return create_trainer(trial(sparsifier={"name": "snip", **fields}, sparsity=0.8, seed=3), digits)


def test_redrawn_weights_give_other_masks_of_similar_densities(digits: DeviceData) -> None:
    """D2: the kept weights depend on the drawn weights, the layer densities are similar."""
    default, other = begin_snip(digits), begin_snip(digits, weights="redrawn")
    assert not default.masks.equal(other.masks)
    for name, count in default.masks.counts().items():
        size = default.masks[name].numel()
        assert abs(count - other.masks.counts()[name]) / size < 0.25, name


def test_shuffled_masks_have_snips_counts_and_other_positions(digits: DeviceData) -> None:
    """D3: only the layer counts are those of SNIP."""
    default, shuffled, random_snip = (
        begin_snip(digits),
        begin_snip(digits, shuffle=True),
        create_trainer(trial(sparsifier="random_snip", sparsity=0.8, seed=3), digits),
    )
    assert shuffled.masks.counts() == default.masks.counts() and not shuffled.masks.equal(default.masks)
    assert random_snip.masks.equal(shuffled.masks)


def test_mask_batches_are_different_samples_of_the_trial(digits: DeviceData) -> None:
    run = create_trainer(trial(sparsifier="snip", sparsity=0.7), digits, samples=64)
    first, second, third = (run._mask_batch(number)[1] for number in range(3))
    assert len(first) == len(second) == 32 and not torch.equal(first, second)
    assert torch.equal(first, third), "the first batch follows the last"
    pool = sorted(digits.train_labels[:64].tolist())
    assert sorted([*first.tolist(), *second.tolist()]) == pool
    assert not begin_snip(digits).masks.equal(begin_snip(digits, batches=2).masks)


def test_flops_of_the_mask_batches_are_counted(digits: DeviceData) -> None:
    """Forward and backward pass of the dense network: three times its forward FLOPs, per image of each batch."""
    dense = sum(begin_snip(digits).layer_flops.values())
    assert begin_snip(digits).train_flops == 3 * dense * 32
    assert begin_snip(digits, batches=2).train_flops == 3 * dense * 64


def test_magnitudes_are_absolute_values() -> None:
    assert magnitudes({"a": torch.tensor([-2.0, 0.0, 1.0])})["a"].tolist() == [2.0, 0.0, 1.0]
