"""Scores of training samples, by name: what a scoring run computes along its way and at its end.

A score that looks at the end alone is a function of a :class:`View`; one that follows training is a class with state.
All see the whole training set, in evaluation mode and without augmentation. Larger is harder. Each stands with its
difficulty in a file of ``trainables.difficulties``, which registers it here: this file imports neither.
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
    """A network after an epoch, and the training set to score.

    Attributes:
        epoch: Number of epochs that the network has been trained.
        data: The whole data set.
        trained: The network, in the mode that it was left in.
        batch_size: Samples per training step.
    """

    epoch: int
    data: DeviceData
    trained: AutocastNetwork
    batch_size: int

    @property
    def labels(self) -> torch.Tensor:
        """int64 [N]."""
        return self.data.train_labels

    @property
    def network(self) -> AutocastNetwork:
        """The network, in evaluation mode."""
        self.trained.module.eval()
        return self.trained

    def batches(
        self, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Training samples from ``start`` up to ``stop``, in order and at most ``size`` at a time.

        float32 images [B, C, H, W] in [0, 1], int64 labels [B].
        """
        images, labels = self.data.train_images[start:stop], self.labels[start:stop]
        for part, its_labels in zip(images.split(size), labels.split(size), strict=True):
            yield to_float(part), its_labels

    @cached_property
    def logits(self) -> torch.Tensor:
        """Logits of all training images: float32 [N, classes], computed once an epoch."""
        return self.network.logits(self.data.train_images)

    @cached_property
    @no_grad
    def train_mode_logits(self) -> torch.Tensor:
        """The same in training mode, where norms use the statistics of a batch: the samples in order, not augmented.

        Batches are of equal size, within one, and at most as large as those of training. The running statistics of
        the network stay as they are.
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
    """One score of one run, which begins before the first epoch. ``state`` is all that it carries from epoch to epoch,
    on the device of ``data``, and goes into checkpoints.
    """

    def __init__(self, data: DeviceData) -> None:
        self.state: Tensors = {}

    def on_epoch_end(self, view: ScoringContext) -> None:
        """Look at the network after an epoch."""

    def compute(self, view: ScoringContext) -> torch.Tensor:
        """float64 [N], after the last epoch."""
        raise NotImplementedError


class FinalScore(Score):
    """A score of the network at the end."""

    def __init__(self, score: Callable[[ScoringContext], torch.Tensor], data: DeviceData) -> None:
        super().__init__(data)
        self._score = score

    def compute(self, view: ScoringContext) -> torch.Tensor:
        return self._score(view)


SCORES: dict[str, Callable[[DeviceData], Score]] = {}


def register_score(name: str, make: Callable[[DeviceData], Score]) -> None:
    """Make a score known by ``name``."""
    if name in SCORES:
        raise ValueError(f"two scores register as {name!r}")
    SCORES[name] = make


def register_final_score(name: str, score: Callable[[ScoringContext], torch.Tensor]) -> None:
    """Make a score of the network at the end known: a function to float64 [N]."""
    register_score(name, partial(FinalScore, score))
