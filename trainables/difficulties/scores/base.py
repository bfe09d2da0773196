"""Registry and base classes of scores: values that a scoring run computes for each training sample.

A score of the final network is a function of a :class:`ScoringContext`. A score over the training is a class with
state. All scores use the full training set, in evaluation mode and without augmentation. Larger is harder. Each score
registers itself from the file of its difficulty. This file imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float

if TYPE_CHECKING:
    from sparsweep.trainables.pipeline.network import AutocastNetwork
    from sparsweep.trainables.sparsifiers.masked_params import Tensors


@dataclass
class ScoringContext:
    """Network after an epoch, and the training set to score.

    Attributes:
        epoch: Finished epochs.
        data: Data set on the device of the network.
        trained: Network in its current mode.
        batch_size: Samples per training step.
    """

    epoch: int
    data: DeviceData
    trained: AutocastNetwork
    batch_size: int

    @property
    def labels(self) -> torch.Tensor:
        """Labels of the training set, int64 ``(N,)``."""
        return self.data.train_labels

    @property
    def network(self) -> AutocastNetwork:
        """Network in evaluation mode."""
        self.trained.module.eval()
        return self.trained

    def batches(
        self, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield training samples in order.

        Args:
            size: Maximum number of samples per batch.
            start: First sample.
            stop: End of the samples, excluded. None is the end of the training set.

        Yields:
            Images, float32 ``(B, C, H, W)`` in [0, 1], and labels, int64 ``(B,)``.
        """
        images, labels = self.data.train_images[start:stop], self.labels[start:stop]
        for batch, batch_labels in zip(images.split(size), labels.split(size), strict=True):
            yield to_float(batch), batch_labels

    @cached_property
    def logits(self) -> torch.Tensor:
        """Logits of all training images, float32 ``(N, classes)``, computed once per epoch."""
        return self.network.logits(self.data.train_images)

    @cached_property
    @no_grad
    def train_mode_logits(self) -> torch.Tensor:
        """Logits of all training images in training mode, float32 ``(N, classes)``: batch norms use batch statistics.

        Samples are in order and not augmented. Batch sizes differ by at most one, and do not exceed that of training.
        The running statistics of the network do not change.
        """
        model = self.trained.module
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        batches = self.data.train_images.tensor_split(-(-len(self.labels) // self.batch_size))
        logits = torch.cat([self.trained(to_float(images)) for images in batches])
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        return logits


class Score:
    """Score of one run, created before the first epoch.

    Attributes:
        state: Tensors that persist between epochs and in checkpoints, on the device of ``data``.
    """

    def __init__(self, data: DeviceData) -> None:
        self.state: Tensors = {}

    def on_epoch_end(self, context: ScoringContext) -> None:
        """Update the state after an epoch."""

    def compute(self, context: ScoringContext) -> torch.Tensor:
        """Return the score of each sample after the last epoch, float64 ``(N,)``."""
        raise NotImplementedError


class FinalScore(Score):
    """Score of the final network."""

    def __init__(self, score: Callable[[ScoringContext], torch.Tensor], data: DeviceData) -> None:
        super().__init__(data)
        self._score = score

    def compute(self, context: ScoringContext) -> torch.Tensor:
        return self._score(context)


SCORES: dict[str, Callable[[DeviceData], Score]] = {}
"""Registered scores by name."""


def register_score(name: str, make: Callable[[DeviceData], Score]) -> None:
    """Register a score under ``name``.

    Args:
        name: Name of the score.
        make: Function that creates the score of one run.

    Raises:
        ValueError: The name is already registered.
    """
    if name in SCORES:
        raise ValueError(f"score {name!r} is already registered")
    SCORES[name] = make


def register_final_score(name: str, score: Callable[[ScoringContext], torch.Tensor]) -> None:
    """Register a score of the final network.

    Args:
        name: Name of the score.
        score: Function that returns float64 ``(N,)``.
    """
    register_score(name, partial(FinalScore, score))
