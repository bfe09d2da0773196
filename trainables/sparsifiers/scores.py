"""Saliency scores: how much each weight matters. Pure functions of a network and a batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from trainables.models import maskable


def magnitudes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """|w| of every maskable weight."""
    return {name: weight.abs() for name, weight in weights.items()}


def connection_sensitivity(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """|w * dL/dw| for the cross-entropy of one batch (Lee et al., SNIP, ICLR 2019, equation 6 without its normaliser).

    The network is in training mode, as the method has it, and is left as it was (batch-norm statistics included).
    """
    probe = copy.deepcopy(model).train()
    weights = maskable(probe)
    loss = functional.cross_entropy(probe(images), labels)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {name: (weights[name] * grad).detach().abs() for name, grad in zip(weights, gradients, strict=True)}
