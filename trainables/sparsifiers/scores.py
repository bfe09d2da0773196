"""Saliency scores: how much each weight matters. Pure functions of a network and some batches.

The network is left as it was (batch-norm statistics included). Scores are detached and have the shapes of the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional, init

from trainables.models import maskable

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images, float32 [B, C, H, W] in [0, 1], and labels, int64 [B]."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LossName = Literal["cross_entropy", "nll"]
LOSSES: dict[LossName, Loss] = {"cross_entropy": functional.cross_entropy, "nll": functional.nll_loss}
"""``nll``: minus the mean of the label's raw logit, as the authors' code has it (defect D1)."""


def magnitudes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """|w| of every maskable weight."""
    return {name: weight.abs() for name, weight in weights.items()}


def connection_sensitivity(
    model: nn.Module, batches: Sequence[Batch], loss: Loss = functional.cross_entropy
) -> dict[str, torch.Tensor]:
    """|w * dL/dw| for the loss of ``batches`` (Lee et al., SNIP, ICLR 2019, equation 6 without its normaliser).

    The network is in training mode, as the method has it.
    """
    probe = copy.deepcopy(model).train()
    weights = maskable(probe)
    total = sum_of_gradients(probe, weights, batches, loss)
    return {name: (weights[name] * grad).detach().abs() for name, grad in total.items()}


def sum_of_gradients(
    probe: nn.Module, weights: Mapping[str, torch.Tensor], batches: Sequence[Batch], loss: Loss
) -> dict[str, torch.Tensor]:
    """The gradient of the sum of the batches' mean losses with respect to ``weights``, by name."""
    parts = [torch.autograd.grad(loss(probe(images), labels), list(weights.values())) for images, labels in batches]
    return {name: torch.stack(grads).sum(0) for name, grads in zip(weights, zip(*parts, strict=True), strict=True)}


def redrawn(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy of ``model`` with its maskable weights drawn anew, Xavier normal (Glorot & Bengio 2010; defect D2)."""
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for weight in maskable(fresh).values():
            weight.copy_(init.xavier_normal_(torch.empty(weight.shape), generator=generator))
    return fresh
