"""What a difficulty is: which training samples are used, and what is done to them.

A difficulty acts at one of four stages, in this order: it *selects* samples, changes their *labels*, changes their
*images* once and for all, or *attacks* every batch while it is trained on. ``composed`` puts one of each together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.base import Registry
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.parts import DifficultySpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec, subset_size


@dataclass(frozen=True)
class PrerequisiteOutputs:
    """What prerequisites left behind.

    ``scores(run, score)``: float64 [N], one for each training sample; ``corrupted(run)``: the data set's images
    after corruption, uint8 [N, C, H, W] as stored, for ``train``, ``test`` and ``validation``.
    """

    scores: Callable[[ScoringSpec, str], torch.Tensor]
    corrupted: Callable[[RunSpec], dict[str, torch.Tensor]]


class Difficulty(DifficultySpec):
    """A way to make training data hard."""

    def check_dependencies(self) -> None:
        """An exception of one line if a package is missing that training ends up using; asked where it starts."""

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        """Indices of the training samples that ``spec`` uses, ascending, exactly ``subset_size`` of them.

        ``labels``: int64 [N] on the CPU. Depends on the seed and the data, never on the sparsifier, so that the arms
        of a comparison train on the same samples. A random subset unless a difficulty chooses otherwise.
        """
        return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        """The data with other labels or images, before training. What is given must not be changed in place."""
        return data

    @property
    def loss_fn(self) -> TrainingLoss:
        """What a training step minimises."""
        return TrainingLoss()

    def should_attack(self, epoch: int, last: bool) -> bool:
        """Whether the network is to be attacked after ``epoch`` epochs (``last``: of all)."""
        return False

    def robust_accuracies(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int, last: bool
    ) -> dict[str, float]:
        """``robust_accuracy`` (and ``autoattack_accuracy``) on uint8 ``images``, where :meth:`should_attack`."""
        return {}


difficulties: Registry[Difficulty] = Registry("difficulty")


def random_subset(total: int, size: int, seed: int) -> torch.Tensor:
    """``size`` of ``total`` indices, uniformly, ascending; the same for every trial of one seed."""
    return torch.randperm(total, generator=derive(seed, "subset"))[:size].sort().values
