"""Base class of all difficulties: which training samples are used, and how they are changed.

A difficulty acts at one of four stages, in this order: it *selects* samples, changes their *labels*, changes their
*images* once before training, or *attacks* every batch during training. ``composed`` combines one difficulty per stage.
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
    """Readers of the outputs of prerequisites.

    Attributes:
        scores: ``scores(run, score)`` returns float64 ``(N,)``, one score per training sample.
        corrupted: ``corrupted(run)`` returns the corrupted images as stored, uint8 ``(N, C, H, W)``, for ``train``,
            ``test`` and ``validation``.
    """

    scores: Callable[[ScoringSpec, str], torch.Tensor]
    corrupted: Callable[[RunSpec], dict[str, torch.Tensor]]


class Difficulty(DifficultySpec):
    """Method that makes training data hard."""

    def check_dependencies(self) -> None:
        """Check the packages that the difficulty needs, before training.

        Raises:
            ModuleNotFoundError: A package is not installed.
        """

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        """Return the indices of the training samples that ``spec`` uses.

        The result depends on the seed and the data, never on the sparsifier. All arms of a comparison train on the same
        samples. The default is a random subset.

        Args:
            spec: Trial to train.
            labels: int64 ``(N,)`` on the CPU, labels of the training set.
            sources: Outputs of the prerequisites.

        Returns:
            Exactly ``subset_size`` ascending indices, int64.
        """
        return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        """Return the data with other labels or images, before training. The input must not be changed in place.

        Args:
            spec: Trial to train.
            data: Data set on the device of the training.
            sources: Outputs of the prerequisites.
        """
        return data

    @property
    def loss_fn(self) -> TrainingLoss:
        """Loss that a training step minimizes."""
        return TrainingLoss()

    def should_attack(self, epoch: int, last: bool) -> bool:
        """Return whether the network is attacked after ``epoch`` epochs.

        Args:
            epoch: Finished epochs.
            last: Whether the training is finished.
        """
        return False

    def attacked_logits(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> torch.Tensor:
        """Return the logits of every image under attack. Only called if :meth:`should_attack` is true.

        Args:
            network: Network to attack.
            images: uint8 ``(N, C, H, W)``.
            labels: int64 ``(N,)``.
            seed: Seed of the trial.

        Returns:
            float32 ``(N, classes)``.
        """
        raise NotImplementedError

    def final_accuracies(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> dict[str, float]:
        """Return accuracies that are only measured after training, such as ``autoattack_accuracy``.

        The arguments are those of :meth:`attacked_logits`.
        """
        return {}


difficulties: Registry[Difficulty] = Registry("difficulty")


def random_subset(total: int, size: int, seed: int) -> torch.Tensor:
    """Return uniformly drawn, ascending indices. They are the same for every trial with this seed.

    Args:
        total: Number of samples.
        size: Number of indices.
        seed: Seed of the trial.
    """
    return torch.randperm(total, generator=derive(seed, "subset"))[:size].sort().values
