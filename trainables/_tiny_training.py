"""Tiny network, data and trainings for the checks of ``trainables.testing``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sparsweep.trainables.data.base import ImageData
from sparsweep.trainables.models import Model
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.models.modules import Normalize
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import InitContext, Sparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.base import StateDict
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.trainer import Trainer

EPOCHS = 4
NUM_SAMPLES = 24
BATCH_SIZE = 10  # three batches per epoch, the last with four samples


class TinyConvNet(Model):
    """3x3, depthwise and 1x1 convolution, and a linear layer with bias. Unregistered: sweeps cannot use it."""

    name: Literal["tiny"] = "tiny"
    channels = 1
    min_size = 6
    width: int = 8
    features: int = 12

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(
            Normalize(*statistics),
            nn.Conv2d(1, self.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.width, 3, padding=1, groups=self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.features, 1, bias=False),
            nn.BatchNorm2d(self.features),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.features, classes),
        )


LAYERS = {"1.weight": (8, 1, 3, 3), "4.weight": (8, 1, 3, 3), "6.weight": (12, 8, 1, 1), "11.weight": (10, 12)}
"""Shapes of the maskable weights of :class:`TinyConvNet` at ten classes, in order: 72 + 72 + 96 + 120 = 360 weights."""
TOTAL = sum(math.prod(shape) for shape in LAYERS.values())


@cache
def tiny_data() -> DeviceData:
    """Return 24 training and 20 test images of 6x6 random gray pixels, with ten classes."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8) for count in (NUM_SAMPLES, 20))
    labels = [random.integers(0, 10, count) for count in (NUM_SAMPLES, 20)]
    return to_device_data(ImageData(train, labels[0], test, labels[1], classes=10), 1, 6, torch.device("cpu"))


def first_samples(samples: int, device: str = "cpu") -> DeviceData:
    """Return :func:`tiny_data` with its first training images only.

    Args:
        samples: Number of training images.
        device: Device of the data.
    """
    data = tiny_data()
    images, labels = data.train_images[:samples].to(device), data.train_labels[:samples].to(device)
    return DeviceData(images, labels, data.test_images.to(device), data.test_labels.to(device), 10, data.mean, data.std)


def tiny_trial(
    sparsifier: Sparsifier | Mapping[str, Any] | str, sparsity: float = 0.8, seed: int = 0, **changes: Any
) -> TrialSpec:
    """Return a trial of four epochs on the tiny network and data.

    Args:
        sparsifier: Method to train.
        sparsity: Target sparsity.
        seed: Seed of the trial.
        **changes: Other fields of the trial.
    """
    recipe = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "crop_padding": 1, "lr": 0.05}
    fields = {"dataset": "digits", "model": TinyConvNet(), "recipe": recipe, "seed": seed}
    return TrialSpec(**{**fields, "sparsifier": sparsifier, "sparsity": sparsity, **changes})


def fake_parent_state(spec: RunSpec) -> StateDict:
    """Return a substitute for a prerequisite's final state: weights of another seed, random batch-norm buffers."""
    trial = spec.trained_trial
    assert trial is not None, "only prerequisites with a trained network have weights"
    model = build_model(trial.replace(seed=trial.seed + 1), tiny_data())
    generator = derive(trial.seed, "stand-in")
    state = dict(model.state_dict())
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
    return state


def training(spec: TrialSpec, kind: type[Trainer] = Trainer, samples: int = NUM_SAMPLES) -> Trainer:
    """Return a training of ``spec`` on the first tiny images, before its first step.

    Args:
        spec: Trial to train.
        kind: Class of the training.
        samples: Number of training images.
    """
    return kind(spec, first_samples(samples), torch.arange(samples), fake_parent_state)


def init_context(spec: TrialSpec) -> InitContext:
    """Return the inputs of the sparsifier of ``spec`` before training, at its initial state."""
    data, recipe = tiny_data(), spec.recipe
    samples = torch.arange(NUM_SAMPLES)
    batches = BatchIterator(
        data.train_images, data.train_labels, samples, recipe.batch_size, recipe.crop_padding, recipe.flip
    )
    model = build_model(spec, data)

    def batch(number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        return list(batches.iter_epoch(derive(spec.seed, "mask batch")))[number % len(batches)]

    start = InitContext(spec, model, derive(spec.seed, "masks"), batch, fake_parent_state)
    state = sparsifiers.cast(spec.sparsifier).parent_state(start)
    if state is not None:
        model.load_state_dict(state)
    return start
