"""Evaluation of a network during training: accuracies per epoch, in float32 logits."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsweep.trainables.difficulties.base import Difficulty
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.specs.parts import Split
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.outcomes import Outcomes, outcomes_of


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
        indices: Indices of the training samples, int64 ``(N,)`` on the same device.
        outcomes: Outcomes of the trained network by split. Filled by the evaluation after the last epoch.
    """

    spec: TrialSpec
    network: AutocastNetwork
    data: DeviceData
    difficulty: Difficulty
    indices: torch.Tensor
    outcomes: dict[Split, Outcomes] = field(default_factory=dict)

    def images(self, split: Split) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the images, uint8 ``(N, C, H, W)``, and labels of a split, or None if the data set has none.

        Not for ``robust``: an attack depends on the network.
        """
        data, indices = self.data, self.indices
        if split == "train":
            return data.train_images[indices], data.train_labels[indices]
        if split == "validation":
            return (data.validation_images, data.validation_labels) if len(data.validation_labels) else None
        is_corrupted = split == "corrupted" or (split == "test" and self.difficulty.eval_images == "corrupted")
        images = data.corrupted_images if is_corrupted else data.test_images
        return None if images is None else (images, data.test_labels)

    def evaluate(self, epoch: int) -> dict[str, float | None]:
        """Return the accuracies that are due after ``epoch`` (counted from 1), by column of :class:`EpochMetrics`.

        If no evaluation is due, ``test_accuracy`` is None.
        """
        last = epoch == self.spec.recipe.epochs
        accuracies: dict[str, float | None] = {"test_accuracy": None}
        if last or epoch % self.spec.evaluation.every == 0:
            splits: tuple[Split, ...] = ("clean", "corrupted", "validation")
            found = {split: self._accuracy(split, last) for split in splits}
            accuracies |= {f"{split}_accuracy": found[split] for split in splits}
            accuracies["test_accuracy"] = found[self.difficulty.eval_images]
        if last:
            self.outcomes["test"] = self.outcomes[self.difficulty.eval_images]
        if self.difficulty.should_attack(epoch, last):
            accuracies |= self._attack(last)
        return accuracies

    def measure(self, split: Split) -> Outcomes:
        """Return the outcomes of a split. Each split is evaluated once: call this after training."""
        if split not in self.outcomes:
            if split == "robust":
                self._attack(last=False)
            else:
                self._accuracy(split, last=True)
        return self.outcomes[split]

    def _accuracy(self, split: Split, last: bool) -> float | None:
        """Return the accuracy of a split, in [0, 1], or None without images. Keep the outcomes if ``last``."""
        found = self.images(split)
        if found is None:
            return None
        images, labels = found
        logits = self.network.logits(images)
        if last:
            self.outcomes[split] = outcomes_of(logits, labels)
        return (logits.argmax(1) == labels).double().mean().item()

    def _attack(self, last: bool) -> dict[str, float | None]:
        """Return the accuracies under attack, and keep the outcomes."""
        found = self.images("test")
        assert found is not None
        images, labels = found
        self.network.module.eval()
        arguments = (self.network, images, labels, self.spec.seed)
        self.outcomes["robust"] = outcomes_of(self.difficulty.attacked_logits(*arguments), labels)
        robust: dict[str, float | None] = {"robust_accuracy": self.outcomes["robust"].accuracy}
        return robust | (self.difficulty.final_accuracies(*arguments) if last else {})


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
