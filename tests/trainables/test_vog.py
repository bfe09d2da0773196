"""Variance of gradients: maps by hand, gradients of a linear layer in closed form, and a training by definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparsweep.trainables.difficulties.scores.vog import VoGScore, add_map, class_standardised, input_gradients
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float
from sparsweep.trainables.pipeline.network import AutocastNetwork
from support.tiny_trials import Flat, create_trainer, four_pixels, scoring_context, trial

CPU = torch.device("cpu")


def scatter_of(maps: torch.Tensor) -> torch.Tensor:
    """Return the scatter that :func:`add_map` computes from maps of shape ``(epochs, B, H, W)``."""
    mean, scatter = torch.zeros_like(maps[0]), torch.zeros(maps.shape[1], dtype=torch.float64)
    for count, epoch_map in enumerate(maps, start=1):
        add_map(mean, scatter, epoch_map, count)
    torch.testing.assert_close(mean, maps.mean(0))
    return scatter


def test_scatter_by_hand() -> None:
    """Pixels 1, 3 (mean 2) and 5, 5 have squared deviations 1 + 1 + 0 + 0. A constant second sample has 0."""
    maps = torch.tensor([[[[1.0, 5.0]], [[4.0, 4.0]]], [[[3.0, 5.0]], [[4.0, 4.0]]]])
    assert scatter_of(maps).tolist() == [2.0, 0.0]


def test_scatter_is_the_variance_times_epochs_and_pixels() -> None:
    maps = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + 10
    torch.testing.assert_close(scatter_of(maps), maps.double().var(0, correction=0).sum((1, 2)) * 7, rtol=1e-5, atol=0)


def test_standardization_within_classes_by_hand() -> None:
    """Class 0 (1, 3) has mean 2 and deviation 1. Class 1 is constant, class 2 has one sample: both give 0."""
    values = torch.tensor([1.0, 5.0, 3.0, 5.0, 9.0], dtype=torch.float64)
    assert class_standardised(values, torch.tensor([0, 1, 0, 1, 2])).tolist() == [-1.0, 0.0, 1.0, 0.0, 0.0]


def test_input_gradient_of_a_linear_layer_is_the_row_of_the_label() -> None:
    """Three channels of one pixel: the gradient is the mean of the label's three weights, for every image."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[1.0, 2.0, 6.0], [-3.0, 0.0, 0.0]]))
    images = torch.rand(3, 3, 1, 1)
    gradients = input_gradients(AutocastNetwork(module, CPU, "fp32"), images, torch.tensor([0, 1, 0]))
    assert gradients.shape == (3, 1, 1) and gradients.flatten().tolist() == pytest.approx([3.0, -1.0, 3.0])
    assert not images.requires_grad and all(parameter.grad is None for parameter in module.parameters())


def test_input_gradients_of_a_batch_equal_those_of_single_images(digits: DeviceData) -> None:
    training = create_trainer(trial(), digits)
    training.train_epoch()
    training.model.eval()
    images, labels = to_float(digits.train_images[:4]), digits.train_labels[:4]
    for image, label, gradient in zip(images, labels, input_gradients(training.network, images, labels), strict=True):
        single = image[None].clone().requires_grad_()
        (expected,) = torch.autograd.grad(training.network(single)[0, label], single)
        torch.testing.assert_close(gradient, expected[0].mean(0), rtol=1e-4, atol=1e-7)


def test_scores_of_a_training_follow_the_definition() -> None:
    """The input gradient of a linear layer is its weights. The variance is that of the weights of the label's row."""
    data = four_pixels(samples=9)
    recipe: dict[str, Any] = {"preset": "digits", "epochs": 4, "crop_padding": 0, "batch_size": 2}
    training = create_trainer(trial(model=Flat(), recipe=recipe), data)
    score, rows = VoGScore(data), []
    for _ in range(4):
        training.train_epoch()
        score.on_epoch_end(scoring_context(training))
        (layer,) = training.weights.values()
        rows.append(layer.detach().clone()[data.train_labels])
    raw = torch.stack(rows).double().var(0, correction=0).mean(1)
    torch.testing.assert_close(score.state["scatter"] / (4 * 4), raw, rtol=1e-4, atol=0)
    assert len(set(raw.tolist())) == 3, "all samples of a class have the same value"
    assert score.compute(scoring_context(training)).abs().max() < 5, "scores are standardized within classes"
