"""Hardness scores of training samples: pure functions of what a network says about them. Larger is harder."""

from __future__ import annotations

import torch
from torch.nn import functional


def el2n(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """EL2N: ||softmax(logits) - onehot(labels)||_2 in [0, sqrt(2)], not squared (Paul et al., NeurIPS 2021, section 2).

    ``logits``: [N, classes]; ``labels``: int64 [N]; the result is float64 [N].
    """
    error = logits.double().softmax(1) - functional.one_hot(labels, logits.shape[1])
    return error.norm(dim=1)
