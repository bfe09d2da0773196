"""Helper for tensors in nested dicts."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.lazy import torch


def to_device(device: torch.device, value: Any) -> Any:
    """Move the tensors in nested dicts to ``device``.

    Args:
        device: Target device.
        value: Tensor, or dict of tensors or dicts.
    """
    if isinstance(value, dict):
        return {key: to_device(device, part) for key, part in value.items()}
    return value.to(device)
