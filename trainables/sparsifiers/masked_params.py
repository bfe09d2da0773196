"""The masks of a network while it trains: what gradients reach, what masked weights and momenta do meanwhile.

Three regimes. In all of them a masked weight is exactly zero wherever the network is run, judged or saved:

- :class:`MaskedParams`: gradients and momenta of masked weights are zero; what is removed is forgotten;
- :class:`DenseMomentumParams`: the optimiser sees dense gradients, and a grown weight starts with the momentum of its
place;
- :class:`LatentParams`: a masked weight keeps its last value out of sight, and comes back with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.masks import Masks

Tensors: TypeAlias = "dict[str, torch.Tensor]"


class MaskedParams:
    """Masks in force on ``weights`` (the maskable parameters by name) that ``optimizer`` trains."""

    graph_tensors: ClassVar[tuple[str, ...] | None] = ("mask_floats",)
    """The attributes that :meth:`pgd_step` reads beside weights and optimiser: tensors, which change in place.

    A step is then the same operations on the same tensors every time, and can be recorded and replayed. A class with a
    step of its own says so itself, or its steps are not.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if {"step", "apply_masks"} & vars(cls).keys() and "graph_tensors" not in vars(cls):
            cls.graph_tensors = None

    def __init__(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> None:
        self.weights = weights
        self.optimizer = optimizer
        self.masks = self.initial = masks
        self.ever_active = masks
        self.counts = masks.counts()
        self.mask_floats = self._factors(masks)
        self.apply_masks()

    def reuse_buffers(self, other: MaskedParams) -> None:
        """Take over the tensors of ``other``'s steps (of the same class and network) for one's own values."""
        for name in self.graph_tensors or ():
            own, place = getattr(self, name), getattr(other, name)
            torch._foreach_copy_(_listed(place), _listed(own))
            setattr(self, name, place)

    # What a sparsifier sees ------------------------------------------------------------------------------------------

    def dense_values(self) -> Tensors:
        """The weights as far as they are known, by name, detached: zero where nothing is kept of a masked one.

        In the standard layout, whatever the network's; they are not to be written to.
        """
        return {name: weight.detach().contiguous() for name, weight in self.weights.items()}

    def momenta(self) -> Tensors:
        """The momentum of every maskable weight, by name; zeros before the first step."""
        found = {name: self._momentum(weight) for name, weight in self.weights.items()}
        kept = {name: torch.zeros_like(self.weights[name]) if m is None else m for name, m in found.items()}
        return {name: momentum.contiguous() for name, momentum in kept.items()}

    @property
    def gradient_densities(self) -> dict[str, float]:
        """The fraction of each layer's weights whose gradient a step computes."""
        return self.densities

    @property
    def densities(self) -> dict[str, float]:
        """The fraction of each layer's weights that is there."""
        return {name: count / self.masks[name].numel() for name, count in self.counts.items()}

    # Training --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """What follows the backward pass: one optimiser step after which every masked weight is zero."""
        torch._foreach_mul_(self.gradients(), self.mask_floats)
        self.optimizer.step()

    def gradients(self) -> list[torch.Tensor]:
        """The gradients of the maskable weights, in their order."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    @no_grad
    def set_masks(self, masks: Masks) -> None:
        """New masks from the next step on."""
        self.ever_active = Masks({name: self.ever_active[name] | mask for name, mask in masks.items()})
        self.unmask()
        self.store_masks(masks)
        self.reset_momenta()

    def unmask(self) -> None:
        """Give the weights all their known values, just before masks change."""

    def reset_momenta(self) -> None:
        """Just after masks changed: what is removed has no momentum."""
        self._mask_momenta(self.mask_floats)

    @no_grad
    def apply_masks(self) -> None:
        torch._foreach_mul_(list(self.weights.values()), self.mask_floats)

    def store_masks(self, masks: Masks) -> None:
        self.masks, self.counts = masks, masks.counts()
        torch._foreach_copy_(self.mask_floats, list(masks.values()))
        self.apply_masks()

    def _factors(self, masks: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """1 where a weight is there, else 0; in the layout of the weight, for which there are fast kernels."""
        return [torch.empty_like(self.weights[name]).copy_(mask) for name, mask in masks.items()]

    def _mask_momenta(self, factors: list[torch.Tensor]) -> None:
        for weight, factor in zip(self.weights.values(), factors, strict=True):
            momentum = self._momentum(weight)
            if momentum is not None:
                momentum.mul_(factor)

    def _momentum(self, weight: torch.Tensor) -> torch.Tensor | None:
        return self.optimizer.state[weight].get("momentum_buffer")

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensors]:
        """All that the weights and the optimiser do not tell; static masks stand there once."""
        state = {"masks": dict(self.masks)}
        if self.masks is not self.initial:
            state |= {"initial": dict(self.initial), "explored": dict(self.ever_active)}
        return state

    def restore(self, state: Mapping[str, Tensors]) -> None:
        """Go on where :meth:`state` was taken, weights and optimiser being back already."""
        masks = Masks(state["masks"])
        self.initial = Masks(state["initial"]) if "initial" in state else masks
        self.ever_active = Masks(state["explored"]) if "explored" in state else masks
        self.store_masks(masks)


def _listed(tensors: Tensors | list[torch.Tensor]) -> list[torch.Tensor]:
    return list(tensors.values()) if isinstance(tensors, dict) else tensors


class DenseMomentumParams(MaskedParams):
    """Gradients and momenta are dense; weights are masked after the step (Dettmers & Zettlemoyer 2019; defect D7)."""

    graph_tensors = ("mask_floats",)

    @property
    def gradient_densities(self) -> dict[str, float]:
        return dict.fromkeys(self.masks, 1.0)

    @no_grad
    def step(self) -> None:
        self.optimizer.step()
        self.apply_masks()

    def reset_momenta(self) -> None:
        """Nothing: the authors' networks keep the momentum of a removed weight for the next one in its place."""


class LatentParams(MaskedParams):
    """Masked weights keep their value in ``latent``; gradients reach the weights in ``reach`` (at least the masks).

    ``reached(values, masks)`` gives the masks of the weights that are trained while ``masks`` are in force (Top-KAST's
    set B); a weight outside stays as it is, untouched by gradient, momentum and decay.
    """

    graph_tensors = ("mask_floats", "reach_factors", "latent")

    def __init__(
        self,
        weights: Tensors,
        optimizer: torch.optim.Optimizer,
        masks: Masks,
        reached: Callable[[Tensors, Masks], Masks],
    ) -> None:
        self.latent = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.reached = reached
        super().__init__(weights, optimizer, masks)
        self.trainable: Masks = masks
        self.reach_factors = self._factors(masks)
        self._reach()

    def dense_values(self) -> Tensors:
        return {name: (weight.detach() + self.latent[name]).contiguous() for name, weight in self.weights.items()}

    @property
    def gradient_densities(self) -> dict[str, float]:
        return {name: count / self.masks[name].numel() for name, count in self.trainable.counts().items()}

    @no_grad
    def step(self) -> None:
        torch._foreach_mul_(self.gradients(), self.reach_factors)
        # Only what is reached takes part in the step, so that decay leaves the rest alone.
        hidden = list(self.latent.values())
        reached = torch._foreach_mul(hidden, self.reach_factors)
        torch._foreach_sub_(hidden, reached)
        torch._foreach_add_(list(self.weights.values()), reached)
        self.optimizer.step()
        self.apply_masks()

    def unmask(self) -> None:
        torch._foreach_add_(list(self.weights.values()), list(self.latent.values()))
        torch._foreach_zero_(list(self.latent.values()))

    def reset_momenta(self) -> None:
        self._reach()
        self._mask_momenta(self.reach_factors)

    def _reach(self) -> None:
        self.trainable = self.reached(self.dense_values(), self.masks)
        torch._foreach_copy_(self.reach_factors, list(self.trainable.values()))

    @no_grad
    def apply_masks(self) -> None:
        weights = list(self.weights.values())
        shown = torch._foreach_mul(weights, self.mask_floats)
        torch._foreach_add_(list(self.latent.values()), torch._foreach_sub(weights, shown))
        torch._foreach_copy_(weights, shown)

    def state(self) -> dict[str, Tensors]:
        return {**super().state(), "latent": dict(self.latent), "reach": dict(self.trainable)}

    def restore(self, state: Mapping[str, Tensors]) -> None:
        super().restore(state)
        for name, value in state["latent"].items():
            self.latent[name].copy_(value)
        self.trainable = Masks(state["reach"])
        torch._foreach_copy_(self.reach_factors, list(self.trainable.values()))
