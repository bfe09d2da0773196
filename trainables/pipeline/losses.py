"""Base class of training losses: plain cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sparsweep.trainables.lazy import functional, torch
from sparsweep.trainables.pipeline.network import AutocastNetwork


@dataclass(frozen=True)
class TrainingLoss:
    """Loss of a batch. This class is plain cross-entropy. Subclasses can attack the batch first."""

    supports_cuda_graphs: ClassVar[bool] = True
    """Whether :meth:`loss` runs the same operations on all batches of one size, so that a CUDA graph can replay them.

    A subclass that overrides :meth:`loss` must set it explicitly. Otherwise it is False.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and "supports_cuda_graphs" not in vars(cls):
            cls.supports_cuda_graphs = False

    @property
    def forward_equivalents(self) -> float:
        """Cost of a step per sample in forward passes. A backward pass costs two forward passes (RigL, app. H)."""
        return 3.0

    @property
    def weight_gradient_passes(self) -> float:
        """Number of these passes that compute the gradients of weights."""
        return 1.0

    def draw_noise(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the random numbers that :meth:`loss` needs. Empty for plain training.

        Args:
            images: float32 (N, C, H, W) in [0, 1].
            generator: Generator on the device of the images. Only attacks use it, so that all trials of a comparison
                start their attacks from the same points.
        """
        return images.new_empty(0)

    def loss(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss, with its autograd graph, and the logits (N, classes) for the training accuracy.

        Args:
            network: Network in training mode. It must be in training mode afterwards.
            images: float32 (N, C, H, W) in [0, 1].
            labels: int64 (N,).
            noise: Random numbers from :meth:`draw_noise` for these images.
        """
        logits = network(images)
        return functional.cross_entropy(logits, labels), logits
