"""The training loop of the paper's authors, restated: what the benchmarks measure against.

It does what their ``train``, ``eval_clean`` and ``eval_adv`` do with a batch, in their order: images leave a PIL image
for each sample through torchvision's transforms and a ``DataLoader`` with worker processes; float32 in the usual
layout; loss and hits are read back with ``.item()`` in every step; SGD as PyTorch makes it; after its step every weight
is multiplied by its mask, a tensor at a time. Adversarial images are advertorch's: ten steps whose gradients go
through ``backward``, in training mode; evaluation computes the gradients of all parameters on the way and drops them
(their defects D13 and D14). Nothing here is taken from this package, so that nothing of its speed is in it.
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
"""Batches: float32 images [B, C, H, W] in [0, 1] and int64 labels [B]."""


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """uint8 ``images`` [N, C, H, W] as torchvision's data sets hold them: a PIL image a sample, then ``transform``."""

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
    """Shuffled, augmented batches of uint8 ``images`` [N, C, H, W]."""
    steps: list[nn.Module | transforms.ToTensor] = [transforms.RandomCrop(images.shape[-2:], padding=padding)]
    steps += [transforms.RandomHorizontalFlip()] if flip else []
    pictures = Pictures(images, labels, transforms.Compose([*steps, transforms.ToTensor()]))
    return DataLoader(pictures, batch_size, shuffle=True, num_workers=workers, pin_memory=torch.cuda.is_available())


def test_loader(
    images: np.ndarray, labels: np.ndarray, batch_size: int = 128, workers: int = 4
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of uint8 ``images`` [N, C, H, W] in order."""
    pictures = Pictures(images, labels, transforms.Compose([transforms.ToTensor()]))
    return DataLoader(pictures, batch_size, num_workers=workers, pin_memory=torch.cuda.is_available())


@dataclass(frozen=True)
class PGD:
    """advertorch's ``LinfPGDAttack``."""

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    random_start: bool = True

    def perturb(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Images in [0, 1] near ``images`` on which ``model``, in the mode that it is in, does badly."""
        reach = self.epsilon if self.random_start else 0.0
        delta = torch.empty_like(images).uniform_(-reach, reach)
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
    """advertorch's ``ctx_noparamgrad``, which the authors' training attacks are made in."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in model.parameters():
            parameter.requires_grad = True


@dataclass
class AuthorsLoop:
    """One training: ``masks`` (float, by the name of the weight; none: dense) on ``model``, which is on ``device``."""

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
        """One training step; the loss and the number of hits, on the host."""
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
        """One pass over ``loader``: mean loss of its batches, share of hits."""
        self.model.train()
        losses, hits, count = 0.0, 0, 0
        for images, labels in loader:
            loss, known = self.step(images, labels)
            losses, hits, count = losses + loss * len(labels), hits + known, count + len(labels)
        return losses / count, hits / count

    def evaluate(self, loader: Loader) -> float:
        """The share of ``loader``'s images that the network knows."""
        self.model.eval()
        hits, count = 0, 0
        with torch.no_grad():
            for images, labels in loader:
                output = self.model(images.to(self.device))
                hits += int((output.argmax(1) == labels.to(self.device)).sum().item())
                count += len(labels)
        return hits / count

    def evaluate_attacked(self, loader: Loader) -> float:
        """The share that it knows after :attr:`test_attack`."""
        assert self.test_attack is not None
        self.model.eval()
        hits, count = 0, 0
        for images, labels in loader:
            images, labels = images.to(self.device), labels.to(self.device)
            adversarial = self.test_attack.perturb(self.model, images, labels)
            with torch.no_grad():
                hits += int((self.model(adversarial).argmax(1) == labels).sum().item())
            count += len(labels)
        return hits / count
