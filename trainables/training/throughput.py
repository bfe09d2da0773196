"""Throughput of one training on the current device, measured with random images."""

from __future__ import annotations

import time

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, model_input_shape
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.execution import ExecutionConfig, StepRunnerCache
from sparsweep.trainables.training.trainer import Trainer

BATCHES = {"cuda": 50, "cpu": 4}
"""Batches between two time measurements. A few batches would not fill a GPU."""
MAX_EPOCHS = 100_000
"""Number of epochs, and epochs between evaluations: the measurement reaches neither."""


class ThroughputProbe:
    """Training with the same steps as a trial, on the dense network: masks do not change the step time much."""

    def __init__(self, spec: TrialSpec, device: torch.device, engine: ExecutionConfig) -> None:
        """Prepare the training and run one epoch as warm-up.

        Args:
            spec: Trial to measure.
            device: Device of the training.
            engine: Execution of the steps.

        Raises:
            torch.OutOfMemoryError: The training does not fit into the memory of the device.
        """
        dense = spec.replace(
            sparsifier="dense",
            sparsity=0.0,
            data_ratio=1.0,
            recipe={**spec.recipe.model_dump(exclude={"steps"}), "epochs": MAX_EPOCHS},
            evaluation={"every": MAX_EPOCHS},
        )
        data = random_images(dense, BATCHES[device.type] * spec.recipe.batch_size, device)
        self.training = Trainer(dense, data, torch.arange(len(data.train_labels)), no_parent, StepRunnerCache(engine))
        self.training.train_epoch()

    def rate(self, seconds: float) -> float:
        """Return the images per second over at least ``seconds`` and at least one epoch."""
        training = self.training
        start, first_images, first_seconds = time.perf_counter(), training.num_images, training.train_seconds
        while training.num_images == first_images or time.perf_counter() - start < seconds:
            training.train_epoch()
        return (training.num_images - first_images) / (training.train_seconds - first_seconds)


def random_images(spec: TrialSpec, count: int, device: torch.device) -> DeviceData:
    """Return random training images and one test image in the input shape of the network of ``spec``.

    Args:
        spec: Trial to measure.
        count: Number of training images.
        device: Device of the images.
    """
    shape = model_input_shape(spec.dataset.image_shape, spec.model.channels, spec.model.min_size)
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, device=device)
    labels = torch.randint(spec.dataset.classes, (count,), device=device)
    half = (0.5,) * spec.model.channels
    return DeviceData(images, labels, images[:1], labels[:1], spec.dataset.classes, half, half)


def no_parent(spec: object) -> dict[str, torch.Tensor]:
    """Reject every prerequisite.

    Raises:
        LookupError: Always.
    """
    raise LookupError(f"a dense trial has no prerequisite (got {spec}).")
