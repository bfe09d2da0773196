"""A network on its device, run in the precision of its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsweep.trainables.lazy import nn, no_grad, torch
from sparsweep.trainables.pipeline.device_data import to_float

EVALUATION_BATCH = 1000
"""Images run at once where a network is judged."""


@dataclass(frozen=True)
class AutocastNetwork:
    """A module on a device, run in the precision of its recipe."""

    module: nn.Module
    device: torch.device
    precision: str
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None
    """The module in another form, say compiled; None: as it is."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """float32 logits [N, classes] of float32 ``images`` in [0, 1], in the mode that the module is in."""
        forward = self.module if self.forward is None else self.forward
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = forward(images)
        return logits.float()

    @no_grad
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 logits [N, classes] of uint8 ``images`` in evaluation mode, without augmentation."""
        self.module.eval()
        return torch.cat([self(to_float(part)) for part in images.split(EVALUATION_BATCH)])
