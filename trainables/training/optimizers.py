"""Optimizers of the recipe, with their state at fixed addresses, as captured steps need it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.specs.recipe import Recipe


@dataclass(frozen=True)
class OptimizerSettings:
    """What an optimizer step depends on, apart from the learning rate."""

    name: str
    momentum: float
    nesterov: bool
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float

    @classmethod
    def of(cls, recipe: Recipe) -> OptimizerSettings:
        """Return the settings of ``recipe``."""
        betas = recipe.beta1, recipe.beta2
        return cls(recipe.optimizer, recipe.momentum, recipe.nesterov, betas, recipe.epsilon, recipe.weight_decay)


def make_optimizer(
    settings: OptimizerSettings, parameters: Iterable[torch.Tensor], lr: torch.Tensor
) -> torch.optim.Optimizer:
    """Return an optimizer with allocated, zero state.

    Args:
        settings: Its settings.
        parameters: Parameters on their device.
        lr: Learning rate, a tensor on that device.
    """
    weights = list(parameters)
    return _adamw(settings, weights, lr) if settings.name == "adamw" else _sgd(settings, weights, lr)


def _sgd(settings: OptimizerSettings, weights: list[torch.Tensor], lr: torch.Tensor) -> torch.optim.Optimizer:
    momentum, decay = settings.momentum, settings.weight_decay
    optimizer = torch.optim.SGD(
        weights, lr=lr, momentum=momentum, nesterov=settings.nesterov, weight_decay=decay, fused=True
    )
    for weight in weights if momentum else ():
        optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def _adamw(settings: OptimizerSettings, weights: list[torch.Tensor], lr: torch.Tensor) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(
        weights,
        lr=lr,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=lr.device.type == "cuda",
    )
    for weight in weights:
        optimizer.state[weight]["step"] = torch.zeros((), device=weight.device)
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[weight][name] = torch.zeros_like(weight)
    return optimizer
