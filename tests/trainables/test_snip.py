"""SNIP's score against finite differences, and what it leaves untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from small_trials import begin, four_pixels, nothing, trial
from torch import nn
from torch.nn import functional

from trainables.data import DeviceData
from trainables.models import maskable
from trainables.sparsifiers import Start
from trainables.sparsifiers.masks import keep_largest
from trainables.sparsifiers.scores import connection_sensitivity, magnitudes
from trainables.training import build_model


def network() -> nn.Module:
    """Smooth, in float64, with batch norm: so that central differences are good to many digits."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 3, 3, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.Softplus(),
        nn.Conv2d(3, 3, 3, groups=3),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(12, 4),
    ]
    return nn.Sequential(*layers).double()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 1, 4, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])


def test_score_is_weight_times_slope_by_finite_differences() -> None:
    model, (images, labels), width = network(), batch(), 1e-5
    scores = connection_sensitivity(model, images, labels)
    probe = copy.deepcopy(model).train()
    for name, weight in maskable(probe).items():
        flat, found = weight.data.view(-1), scores[name].view(-1)
        for place in range(len(flat)):
            value = flat[place].item()
            losses = []
            for shift in (width, -width):
                flat[place] = value + shift
                losses.append(functional.cross_entropy(probe(images), labels).item())
            flat[place] = value
            slope = (losses[0] - losses[1]) / (2 * width)
            assert found[place].item() == pytest.approx(abs(value * slope), rel=1e-5, abs=1e-9), (name, place)


@pytest.mark.parametrize("mode", [True, False])
def test_network_is_left_as_it_was(mode: bool) -> None:
    model = network().train(mode)
    before = copy.deepcopy(model.state_dict())
    connection_sensitivity(model, *batch())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(module.training == mode for module in model.modules())


def test_scores_are_those_of_training_mode_in_either_mode() -> None:
    training, evaluating = (connection_sensitivity(network().train(mode), *batch()) for mode in (True, False))
    assert all(torch.equal(training[name], evaluating[name]) for name in training)


def test_masks_are_the_largest_sensitivities_of_the_weights_that_are_trained() -> None:
    spec, data = trial(sparsifier="snip", sparsity=0.7), four_pixels()
    model = build_model(spec, data)
    images, labels = torch.rand(6, 1, 8, 8), data.train_labels
    start = Start(spec, model, torch.Generator(), lambda: (images, labels), nothing)
    masks = spec.sparsifier.initialize(start)
    assert masks.equal(keep_largest(connection_sensitivity(model, images, labels), start.kept))
    assert not masks.equal(keep_largest(magnitudes(start.weights), start.kept))


def test_it_looks_at_one_batch_of_the_trials_own_samples(digits: DeviceData) -> None:
    """Two subsets of the data, two masks; one subset, one mask."""
    spec = trial(sparsifier="snip", sparsity=0.7)
    first, again, other = begin(spec, digits, 40), begin(spec, digits, 40), begin(spec, digits, 41)
    assert first.masks.equal(again.masks) and not first.masks.equal(other.masks)


def test_magnitudes() -> None:
    assert magnitudes({"a": torch.tensor([-2.0, 0.0, 1.0])})["a"].tolist() == [2.0, 0.0, 1.0]
