"""SNIP's score against finite differences, and what it leaves untouched."""

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
from support.tiny_trials import begin, four_pixels, nothing, trial


def test_losses_by_hand() -> None:
    """Logits (0, ln 3) of label 1: minus ln(3/4) with the softmax, minus ln 3 without (D1)."""
    logits, labels = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    assert LOSSES["cross_entropy"](logits, labels).item() == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert LOSSES["nll"](logits, labels).item() == pytest.approx(-math.log(3), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("count", [1, 2])
def test_score_is_weight_times_slope_by_finite_differences(loss: LossName, count: int) -> None:
    model, batches, width = network(), [batch(seed) for seed in range(count)], 1e-5
    scores = connection_sensitivity(model, batches, LOSSES[loss])
    probe = copy.deepcopy(model).train()
    for name, weight in maskable(probe).items():
        flat, found = weight.data.view(-1), scores[name].view(-1)
        for place in range(len(flat)):
            value = flat[place].item()
            losses = []
            for shift in (width, -width):
                flat[place] = value + shift
                losses.append(sum(LOSSES[loss](probe(images), labels).item() for images, labels in batches))
            flat[place] = value
            slope = (losses[0] - losses[1]) / (2 * width)
            assert found[place].item() == pytest.approx(abs(value * slope), rel=1e-5, abs=1e-9), (name, place)


@pytest.mark.parametrize("mode", [True, False])
def test_network_is_left_as_it_was(mode: bool) -> None:
    model = network().train(mode)
    before = copy.deepcopy(model.state_dict())
    connection_sensitivity(model, [batch()])
    reinitialized(model, torch.Generator())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(module.training == mode for module in model.modules())


def test_scores_are_those_of_training_mode_in_either_mode() -> None:
    training, evaluating = (connection_sensitivity(network().train(mode), [batch()]) for mode in (True, False))
    assert all(torch.equal(training[name], evaluating[name]) for name in training)


def test_masks_are_the_largest_sensitivities_of_the_weights_that_are_trained() -> None:
    spec, data = trial(sparsifier="snip", sparsity=0.7), four_pixels()
    model = build_model(spec, data)
    images, labels = torch.rand(6, 1, 8, 8), data.train_labels
    start = InitContext(spec, model, torch.Generator(), lambda number: (images, labels), nothing)
    masks = spec.sparsifier.initialize(start)
    assert masks.equal(top_k_global(connection_sensitivity(model, [(images, labels)]), start.num_active))
    assert not masks.equal(top_k_global(magnitudes(start.weights), start.num_active))


def test_it_looks_at_one_batch_of_the_trials_own_samples(digits: DeviceData) -> None:
    """Two subsets of the data, two masks; one subset, one mask."""
    spec = trial(sparsifier="snip", sparsity=0.7)
    first, again, other = begin(spec, digits, 40), begin(spec, digits, 40), begin(spec, digits, 41)
    assert first.masks.equal(again.masks) and not first.masks.equal(other.masks)


def test_redrawn_weights_are_xavier_normal_and_the_rest_is_kept() -> None:
    """Deviation sqrt(2 / (fan in + fan out)): 16 x 9 in and 32 x 9 out for the convolution (Glorot & Bengio 2010)."""
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Linear(200, 300))
    fresh = reinitialized(model, torch.Generator().manual_seed(0))
    assert fresh[0].weight.std().item() == pytest.approx(math.sqrt(2 / (48 * 9)), rel=0.05)
    assert fresh[2].weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.05)
    assert torch.equal(fresh[0].bias, model[0].bias) and not torch.equal(fresh[0].weight, model[0].weight)
    again = reinitialized(model, torch.Generator().manual_seed(0))
    assert torch.equal(again[2].weight, fresh[2].weight)


def opened(digits: DeviceData, **fields: object) -> Trainer:
    return begin(trial(sparsifier={"name": "snip", **fields}, sparsity=0.8, seed=3), digits)


def test_scores_of_other_weights_choose_other_masks_of_like_densities(digits: DeviceData) -> None:
    """D2: which weights are kept is chance given the layer densities, which are about the same."""
    own, other = opened(digits), opened(digits, weights="redrawn")
    assert not own.masks.equal(other.masks)
    for name, count in own.masks.counts().items():
        size = own.masks[name].numel()
        assert abs(count - other.masks.counts()[name]) / size < 0.25, name


def test_shuffled_masks_have_snips_counts_and_other_positions(digits: DeviceData) -> None:
    """D3: the layer counts of SNIP and nothing else of it."""
    own, shuffled, named = (
        opened(digits),
        opened(digits, shuffle=True),
        begin(trial(sparsifier="random_snip", sparsity=0.8, seed=3), digits),
    )
    assert shuffled.masks.counts() == own.masks.counts() and not shuffled.masks.equal(own.masks)
    assert named.masks.equal(shuffled.masks)


def test_batches_are_different_ones_of_the_trials_own_samples(digits: DeviceData) -> None:
    run = begin(trial(sparsifier="snip", sparsity=0.7), digits, samples=64)
    first, second, third = (run._mask_batch(number)[1] for number in range(3))
    assert len(first) == len(second) == 32 and not torch.equal(first, second)
    assert torch.equal(first, third), "after the last comes the first again"
    pool = sorted(digits.train_labels[:64].tolist())
    assert sorted([*first.tolist(), *second.tolist()]) == pool
    assert not opened(digits).masks.equal(opened(digits, batches=2).masks)


def test_the_batch_is_counted(digits: DeviceData) -> None:
    """A forward and a backward pass of the dense network: 3 x its forward operations an image and batch."""
    dense = sum(opened(digits).layer_flops.values())
    assert opened(digits).train_flops == 3 * dense * 32
    assert opened(digits, batches=2).train_flops == 3 * dense * 64


def test_magnitudes() -> None:
    assert magnitudes({"a": torch.tensor([-2.0, 0.0, 1.0])})["a"].tolist() == [2.0, 0.0, 1.0]
