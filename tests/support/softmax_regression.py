"""Gradient of :class:`tiny_trials.Flat` in closed form, the reference for training steps."""

from __future__ import annotations

import torch
from torch.nn import functional

from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import Flat, create_trainer, four_pixels, trial

LAYER = "1.weight"
LR, DECAY = 0.3, 0.02


def flat(sparsifier: object, sparsity: float, **recipe: object) -> Trainer:
    """Return a training of a linear network with twelve weights on six samples of four pixels.

    All samples form one batch, without augmentation.
    """
    fields = {"epochs": 4, "batch_size": 6, "lr": LR, "momentum": 0.0, "nesterov": False, "weight_decay": DECAY}
    fields |= {"milestones": [], "crop_padding": 0, "flip": False}
    spec = trial(model=Flat(), sparsifier=sparsifier, sparsity=sparsity, recipe={**fields, **recipe})
    return create_trainer(spec, four_pixels(), samples=6)


def gradient(run: Trainer) -> torch.Tensor:
    """Return dL/dw of all twelve weights at their current values: the mean of (p - y) x over the samples."""
    data = four_pixels()
    pixels, labels = data.train_images.flatten(1) / 255, functional.one_hot(data.train_labels, 3)
    layer = run.model.get_submodule("1")
    weight, bias = (parameter.detach() for parameter in layer.parameters())
    return ((pixels @ weight.T + bias).softmax(1) - labels).T @ pixels / len(pixels)
