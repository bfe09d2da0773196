"""Network on a device that runs in the precision of its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsweep.trainables.lazy import nn, no_grad, torch
from sparsweep.trainables.pipeline.device_data import to_float

EVALUATION_BATCH = 1000
"""Number of images per batch in evaluation."""


@dataclass(frozen=True)
class AutocastNetwork:
    """Module on a device that runs in the precision of its recipe (fp32, or bf16 autocast)."""

    module: nn.Module
    device: torch.device
    precision: str
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Replacement for the module's forward pass, e.g. a compiled module. None: the module itself."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (N, classes) of float32 images in [0, 1], in the current mode of the module."""
        forward = self.module if self.forward is None else self.forward
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = forward(images)
        return logits.float()

    @no_grad
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (N, classes) of uint8 images in evaluation mode, without augmentation."""
        self.module.eval()
        return torch.cat([self(to_float(part)) for part in images.split(EVALUATION_BATCH)])
