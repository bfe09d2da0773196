"""Evaluation of a network during training: accuracies per epoch, in float32 logits."""

from __future__ import annotations

from dataclasses import dataclass

from sparsweep.trainables.difficulties.base import Difficulty
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.specs.trial import TrialSpec


@dataclass(frozen=True)
class EpochMetrics:
    """Results of one epoch. Accuracies are in [0, 1], or None if they were not measured after this epoch."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float | None
    density: float
    seconds: float
    clean_accuracy: float | None = None
    corrupted_accuracy: float | None = None
    validation_accuracy: float | None = None
    robust_accuracy: float | None = None
    autoattack_accuracy: float | None = None


@dataclass(frozen=True)
class Evaluator:
    """Evaluation of one network on the data of one trial.

    Attributes:
        spec: Trial that is trained.
        network: Network on its device. Evaluation leaves it in evaluation mode.
        data: Data set on the same device.
        difficulty: Difficulty of the trial. It selects the test images and attacks them.
    """

    spec: TrialSpec
    network: AutocastNetwork
    data: DeviceData
    difficulty: Difficulty

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Return the share of correctly classified images, in [0, 1].

        Args:
            images: uint8 ``(N, C, H, W)``.
            labels: int64 ``(N,)``.
        """
        return (self.network.logits(images).argmax(1) == labels).double().mean().item()

    def fit_accuracy(self, indices: torch.Tensor) -> float:
        """Return the accuracy on the training samples ``indices``, without augmentation, in [0, 1]."""
        return self.accuracy(self.data.train_images[indices], self.data.train_labels[indices])

    def evaluate(self, epoch: int) -> dict[str, float | None]:
        """Return the accuracies that are due after ``epoch`` (counted from 1), by column of :class:`EpochMetrics`.

        If no evaluation is due, ``test_accuracy`` is None.
        """
        last = epoch == self.spec.recipe.epochs
        data, difficulty = self.data, self.difficulty
        accuracies: dict[str, float | None] = {"test_accuracy": None}
        if last or epoch % self.spec.evaluation.every == 0:
            accuracies["clean_accuracy"] = self.accuracy(data.test_images, data.test_labels)
            if data.corrupted_images is not None:
                accuracies["corrupted_accuracy"] = self.accuracy(data.corrupted_images, data.test_labels)
            if len(data.validation_labels):
                accuracies["validation_accuracy"] = self.accuracy(data.validation_images, data.validation_labels)
            accuracies["test_accuracy"] = accuracies[f"{difficulty.eval_images}_accuracy"]
        if difficulty.should_attack(epoch, last):
            self.network.module.eval()
            images = data.test_images
            if difficulty.eval_images == "corrupted" and data.corrupted_images is not None:
                images = data.corrupted_images
            accuracies |= difficulty.robust_accuracies(self.network, images, data.test_labels, self.spec.seed, last)
        return accuracies


def evaluate_in_float32(model: nn.Module) -> None:
    """Make the last layer of ``model`` compute in float32 during evaluation.

    bfloat16 has 8 bits of precision: about 56 of 10,000 test images had two equal highest logits, and the first class
    won. The last layer is the last convolution or linear layer. Without autocast nothing changes.
    """
    *_, last = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    last.register_forward_hook(_in_float32)


def _in_float32(layer: nn.Module, inputs: tuple[torch.Tensor, ...], logits: torch.Tensor) -> torch.Tensor | None:
    is_training_step = layer.training and torch.is_grad_enabled()
    if is_training_step or not torch.is_autocast_enabled(logits.device.type):
        return None
    with torch.autocast(logits.device.type, enabled=False):
        return layer.forward(inputs[0].float())
