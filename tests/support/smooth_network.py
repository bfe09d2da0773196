"""A smooth network for which central differences are accurate to many digits, and batches for it."""

from __future__ import annotations

import torch
from torch import nn


def network() -> nn.Module:
    """Return a smooth network in float64 with batch norm. Central differences are accurate to many digits."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 3, 3, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.Softplus(),
        nn.Conv2d(3, 3, 3, groups=3),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(12, 4),
    ]
    return nn.Sequential(*layers).double()


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(5, 1, 4, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
