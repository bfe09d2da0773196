"""How many images a second one training gets through on the device at hand, with random images in place of data."""

from __future__ import annotations

import time

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, model_input_shape
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.execution import ExecutionConfig, StepRunnerCache
from sparsweep.trainables.training.trainer import Trainer

BATCHES = {"cuda": 50, "cpu": 4}
"""Batches between two looks at the clock: on a GPU a few would not fill it."""
MAX_EPOCHS = 100_000
"""Epochs and epochs between evaluations, neither of which is ever reached."""


class ThroughputProbe:
    """A training of steps like those of ``spec``, warmed up; torch.OutOfMemoryError if it is too large.

    Of the dense network: a mask neither saves nor costs time worth the name. ``engine``: how its steps run.
    """

    def __init__(self, spec: TrialSpec, device: torch.device, engine: ExecutionConfig) -> None:
        alike = spec.replace(
            sparsifier="dense",
            sparsity=0.0,
            data_ratio=1.0,
            recipe={**spec.recipe.model_dump(exclude={"steps"}), "epochs": MAX_EPOCHS},
            evaluation={"every": MAX_EPOCHS},
        )
        data = random_images(alike, BATCHES[device.type] * spec.recipe.batch_size, device)
        self.training = Trainer(alike, data, torch.arange(len(data.train_labels)), no_parent, StepRunnerCache(engine))
        self.training.train_epoch()

    def rate(self, seconds: float) -> float:
        """Images per second over at least ``seconds``, and one epoch or more."""
        training = self.training
        began, images, trained = time.perf_counter(), training.num_images, training.train_seconds
        while training.num_images == images or time.perf_counter() - began < seconds:
            training.train_epoch()
        return (training.num_images - images) / (training.train_seconds - trained)


def random_images(spec: TrialSpec, count: int, device: torch.device) -> DeviceData:
    """``count`` training images, and a test image, of the shape that the network of ``spec`` gets."""
    shape = model_input_shape(spec.dataset.image_shape, spec.model.channels, spec.model.min_size)
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, device=device)
    labels = torch.randint(spec.dataset.classes, (count,), device=device)
    half = (0.5,) * spec.model.channels
    return DeviceData(images, labels, images[:1], labels[:1], spec.dataset.classes, half, half)


def no_parent(spec: object) -> dict[str, torch.Tensor]:
    raise LookupError(f"a dense trial has no prerequisite, asked for {spec}")
