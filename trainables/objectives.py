"""What a training step minimises. A network is run through :class:`Network`, which knows its precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

EVALUATION_BATCH = 1000
"""Images run at once where a network is judged."""


@dataclass(frozen=True)
class Network:
    """A module on a device, run in the precision of its recipe."""

    module: nn.Module
    device: torch.device
    precision: str

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 logits [N, classes] of float32 ``images`` in [0, 1], in the mode that the module is in."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.module(images)
        return logits.float()


class Objective:
    """The loss of a batch. This one is plain cross-entropy; others attack the batch first."""

    passes: float = 3.0
    """Forward passes that a step costs a sample: one forward, and a backward pass that costs two (RigL, appendix H)."""

    weight_passes: float = 1.0
    """Those among them that compute the gradients of weights."""

    def loss(
        self, network: Network, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss, with its graph, and the logits that the training accuracy counts.

        ``images``: float32 [B, C, H, W] in [0, 1]; ``labels``: int64 [B]; ``generator``: on the images' device, for
        attacks alone, so that the arms of a comparison are attacked from the same starts. The network is in training
        mode and is left so.
        """
        logits = network(images)
        return functional.cross_entropy(logits, labels), logits
