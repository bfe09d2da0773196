"""Reimplementation of the training loop of the paper's authors: the baseline of the benchmarks.

The loop processes a batch as the authors' ``train``, ``eval_clean`` and ``eval_adv`` do, in the same order:

- Each sample is a PIL image. It passes through torchvision's transforms and a ``DataLoader`` with worker processes.
- Tensors are float32 in the default memory layout.
- Every step reads loss and number of correct predictions back with ``.item()``.
- The optimizer is PyTorch's default SGD. After its step, each weight is multiplied by its mask, one tensor at a time.
- Adversarial images are those of advertorch: ten steps with gradients from ``backward``, in training mode.
- Evaluation under attack also computes the gradients of all parameters and discards them (defects D13 and D14 of
  their code).

This module uses no code of this package, so the package's optimizations cannot speed it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

Loader = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Batches: images (B, C, H, W), float32 in [0, 1], and labels (B,), int64."""


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Dataset like those of torchvision: each sample becomes a PIL image, then passes through ``transform``.

    Args:
        images: Images (N, C, H, W), uint8.
        labels: Labels (N,).
        transform: Transform of a PIL image to a tensor.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: transforms.Compose) -> None:
        pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self.pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self.labels, self.transform = labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def train_loader(
    images: np.ndarray, labels: np.ndarray, batch_size: int, padding: int = 4, flip: bool = True, workers: int = 4
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Return shuffled, augmented batches of ``images`` (N, C, H, W), uint8."""
    steps: list[nn.Module | transforms.ToTensor] = [transforms.RandomCrop(images.shape[-2:], padding=padding)]
    steps += [transforms.RandomHorizontalFlip()] if flip else []
    pictures = Pictures(images, labels, transforms.Compose([*steps, transforms.ToTensor()]))
    return DataLoader(pictures, batch_size, shuffle=True, num_workers=workers, pin_memory=torch.cuda.is_available())


def test_loader(
    images: np.ndarray, labels: np.ndarray, batch_size: int = 128, workers: int = 4
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of ``images`` (N, C, H, W), uint8, in order."""
    pictures = Pictures(images, labels, transforms.Compose([transforms.ToTensor()]))
    return DataLoader(pictures, batch_size, num_workers=workers, pin_memory=torch.cuda.is_available())


@dataclass(frozen=True)
class PGD:
    """Reimplementation of advertorch's ``LinfPGDAttack``."""

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    random_start: bool = True

    def perturb(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return adversarial images in [0, 1] near ``images``. ``model`` stays in its current mode."""
        radius = self.epsilon if self.random_start else 0.0
        delta = torch.empty_like(images).uniform_(-radius, radius)
        delta.data = (images + delta.data).clamp(0, 1) - images
        delta.requires_grad_()
        for _ in range(self.steps):
            functional.cross_entropy(model(images + delta), labels).backward()
            assert delta.grad is not None
            delta.data = delta.data + self.step_size * delta.grad.data.sign()
            delta.data = delta.data.clamp(-self.epsilon, self.epsilon)
            delta.data = (images + delta.data).clamp(0, 1) - images
            delta.grad.data.zero_()
        return (images + delta.data).clamp(0, 1)


@contextmanager
def without_parameter_gradients(model: nn.Module) -> Iterator[None]:
    """Reimplementation of advertorch's ``ctx_noparamgrad``, which the authors use for attacks during training."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in model.parameters():
            parameter.requires_grad = True


@dataclass
class AuthorsLoop:
    """Training of ``model`` on ``device``.

    Attributes:
        masks: Masks (float) by name of the weight. A dense network has none.
        attack: Attack during training, or None.
        test_attack: Attack of :meth:`evaluate_attacked`.
    """

    model: nn.Module
    device: torch.device
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    attack: PGD | None = None
    test_attack: PGD | None = None
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = True

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
        self.apply_masks()

    def apply_masks(self) -> None:
        for name, weight in self.model.named_parameters():
            if name in self.masks:
                weight.data = weight.data * self.masks[name]

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
        """Run one training step. Return the loss and the number of correct predictions, on the host."""
        images, labels = images.to(self.device), labels.to(self.device)
        if self.attack is not None:
            with without_parameter_gradients(self.model):
                images = self.attack.perturb(self.model, images, labels)
        self.optimizer.zero_grad()
        output = self.model(images)
        loss = functional.cross_entropy(output, labels)
        loss.backward()
        self.optimizer.step()
        self.apply_masks()
        predicted = output.argmax(dim=1, keepdim=True)
        return loss.item(), int(predicted.eq(labels.view_as(predicted)).sum().item())

    def train_epoch(self, loader: Loader) -> tuple[float, float]:
        """Train on all batches of ``loader``. Return the mean loss and the accuracy."""
        self.model.train()
        losses, correct, count = 0.0, 0, 0
        for images, labels in loader:
            loss, batch_correct = self.step(images, labels)
            losses, correct, count = losses + loss * len(labels), correct + batch_correct, count + len(labels)
        return losses / count, correct / count

    def evaluate(self, loader: Loader) -> float:
        """Return the accuracy on ``loader``."""
        self.model.eval()
        correct, count = 0, 0
        with torch.no_grad():
            for images, labels in loader:
                output = self.model(images.to(self.device))
                correct += int((output.argmax(1) == labels.to(self.device)).sum().item())
                count += len(labels)
        return correct / count

    def evaluate_attacked(self, loader: Loader) -> float:
        """Return the accuracy under :attr:`test_attack`."""
        assert self.test_attack is not None
        self.model.eval()
        correct, count = 0, 0
        for images, labels in loader:
            images, labels = images.to(self.device), labels.to(self.device)
            adversarial = self.test_attack.perturb(self.model, images, labels)
            with torch.no_grad():
                correct += int((self.model(adversarial).argmax(1) == labels).sum().item())
            count += len(labels)
        return correct / count
