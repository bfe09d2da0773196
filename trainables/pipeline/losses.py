"""What a training step minimises. A network is run through :class:`AutocastNetwork`, which knows its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sparsweep.trainables.lazy import functional, torch
from sparsweep.trainables.pipeline.network import AutocastNetwork


@dataclass(frozen=True)
class TrainingLoss:
    """The loss of a batch. This one is plain cross-entropy; others attack the batch first."""

    supports_cuda_graphs: ClassVar[bool] = True
    """Whether :meth:`loss` runs the same operations on all batches of a size: these can be recorded and replayed.

    A class with a loss of its own says so itself, or its steps are not.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "loss" in vars(cls) and "supports_cuda_graphs" not in vars(cls):
            cls.supports_cuda_graphs = False

    @property
    def forward_equivalents(self) -> float:
        """Forward passes that a step costs a sample: here one forward, and a backward that costs two (RigL, app. H)."""
        return 3.0

    @property
    def weight_gradient_passes(self) -> float:
        """Those among them that compute the gradients of weights."""
        return 1.0

    def draw_noise(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The random numbers that :meth:`loss` needs for ``images``; none for plain training.

        ``generator``: on the images' device, for attacks alone, so that the arms of a comparison are attacked from the
        same starts.
        """
        return images.new_empty(0)

    def loss(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss, with its graph, and the logits that the training accuracy counts.

        ``images``: float32 [B, C, H, W] in [0, 1]; ``labels``: int64 [B]; ``noise``: what :meth:`draw_noise` drew for
        them. The network is in training mode and is left so.
        """
        logits = network(images)
        return functional.cross_entropy(logits, labels), logits
