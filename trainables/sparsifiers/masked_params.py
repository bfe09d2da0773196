"""Masked weights, gradients and momenta of a network during training.

Dropped weights lose their state of the optimizer: momentum, or both moments of AdamW. Grown weights start with zero
state, as in the code of RigL. AdamW corrects the bias of both means by the number of steps of the training, not of a
weight. Late in training, the first update of a grown weight is (1 - beta1) / sqrt(1 - beta2) times the learning rate:
3.2 at the defaults.

Three regimes follow. In each of them a masked weight is exactly zero wherever the network runs, is evaluated or saved:

- :class:`MaskedParams`: gradients and momenta of masked weights are zero. Dropped values are lost;
- :class:`DenseMomentumParams`: the optimizer gets dense gradients. A grown weight starts with the momentum of its
  position;
- :class:`LatentParams`: a masked weight keeps its last value in a separate tensor. A grown weight starts from that
  value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.masks import Masks

Tensors: TypeAlias = "dict[str, torch.Tensor]"
"""Tensors by weight name."""


class MaskedParams:
    """Masks applied to the maskable parameters that an optimizer trains.

    Attributes:
        weights: Maskable parameters by name.
        masks: Current masks.
        initial: Masks before the first step.
        ever_active: Weights that were active at any step.
        counts: Number of active weights by layer.
        mask_floats: Current masks as 0 and 1, in the dtype and memory layout of the weights.
    """

    graph_tensors: ClassVar[tuple[str, ...] | None] = ("mask_floats",)
    """Attributes that :meth:`step` reads beside weights and optimizer, or None. They are tensors that change in place.

    A CUDA graph can then capture a step and replay it on the same tensors. A subclass with its own :meth:`step` must
    set this attribute again. Otherwise its steps are not captured.
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
        """Copy own values into the tensors of ``other`` and use these tensors (same class and network)."""
        for name in self.graph_tensors or ():
            own, buffer = getattr(self, name), getattr(other, name)
            torch._foreach_copy_(_as_list(buffer), _as_list(own))
            setattr(self, name, buffer)

    # Values for sparsifiers ------------------------------------------------------------------------------------------

    def dense_values(self) -> Tensors:
        """Return detached weights by name, including latent values of masked weights.

        The tensors have the standard (contiguous) memory layout. Callers must not write to them.
        """
        return {name: weight.detach().contiguous() for name, weight in self.weights.items()}

    def momenta(self) -> Tensors:
        """Return the momentum (AdamW: mean gradient) of every maskable weight by name. It is zero before a step."""
        buffers = {name: self._momentum(weight) for name, weight in self.weights.items()}
        momenta = {name: torch.zeros_like(self.weights[name]) if m is None else m for name, m in buffers.items()}
        return {name: momentum.contiguous() for name, momentum in momenta.items()}

    @property
    def gradient_densities(self) -> dict[str, float]:
        """Fraction of each layer's weights whose gradient a step computes."""
        return self.densities

    @property
    def densities(self) -> dict[str, float]:
        """Fraction of each layer's weights that is active."""
        return {name: count / self.masks[name].numel() for name, count in self.counts.items()}

    # Training --------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Take one optimizer step after the backward pass. Every masked weight is zero afterwards."""
        torch._foreach_mul_(self.gradients(), self.mask_floats)
        self.optimizer.step()

    def gradients(self) -> list[torch.Tensor]:
        """Return the gradients of the maskable weights, in network order."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    @no_grad
    def set_masks(self, masks: Masks) -> None:
        """Apply new masks from the next step on."""
        self.ever_active = Masks({name: self.ever_active[name] | mask for name, mask in masks.items()})
        self.unmask()
        self.store_masks(masks)
        self.reset_momenta()

    def unmask(self) -> None:
        """Restore all known values of the weights, just before the masks change."""

    def reset_momenta(self) -> None:
        """Set the momenta of dropped weights to zero, just after the masks change."""
        self._mask_momenta(self.mask_floats)

    @no_grad
    def apply_masks(self) -> None:
        """Set masked weights to zero."""
        torch._foreach_mul_(list(self.weights.values()), self.mask_floats)

    def store_masks(self, masks: Masks) -> None:
        """Replace the current masks and apply them."""
        self.masks, self.counts = masks, masks.counts()
        torch._foreach_copy_(self.mask_floats, list(masks.values()))
        self.apply_masks()

    def _factors(self, masks: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return 1 for active and 0 for masked weights, in the memory layout of each weight: its kernels are faster."""
        return [torch.empty_like(self.weights[name]).copy_(mask) for name, mask in masks.items()]

    def _mask_momenta(self, factors: list[torch.Tensor]) -> None:
        for weight, factor in zip(self.weights.values(), factors, strict=True):
            for moment in self.moments(weight).values():
                moment.mul_(factor)

    def moments(self, weight: torch.Tensor) -> Tensors:
        """Return the optimizer's state of each element of ``weight``: momentum, or both moments of AdamW."""
        return {name: value for name, value in self.optimizer.state[weight].items() if value.shape == weight.shape}

    def _momentum(self, weight: torch.Tensor) -> torch.Tensor | None:
        state = self.optimizer.state[weight]
        return state.get("momentum_buffer", state.get("exp_avg"))

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensors]:
        """Return the state beside weights and optimizer. Static masks are stored once."""
        state = {"masks": dict(self.masks)}
        if self.masks is not self.initial:
            state |= {"initial": dict(self.initial), "explored": dict(self.ever_active)}
        return state

    def restore(self, state: Mapping[str, Tensors]) -> None:
        """Restore :meth:`state`, after weights and optimizer are restored."""
        masks = Masks(state["masks"])
        self.initial = Masks(state["initial"]) if "initial" in state else masks
        self.ever_active = Masks(state["explored"]) if "explored" in state else masks
        self.store_masks(masks)


def _as_list(tensors: Tensors | list[torch.Tensor]) -> list[torch.Tensor]:
    return list(tensors.values()) if isinstance(tensors, dict) else tensors


class DenseMomentumParams(MaskedParams):
    """Masked weights with dense gradients and momenta (Dettmers & Zettlemoyer 2019; defect D7)."""

    graph_tensors = ("mask_floats",)

    @property
    def gradient_densities(self) -> dict[str, float]:
        return dict.fromkeys(self.masks, 1.0)

    @no_grad
    def step(self) -> None:
        self.optimizer.step()
        self.apply_masks()

    def reset_momenta(self) -> None:
        """Do nothing: in the authors' code a grown weight gets the momentum of its position."""


class LatentParams(MaskedParams):
    """Masked parameters that keep the values of masked weights. Gradients reach a superset of the active weights.

    Attributes:
        latent: Values of masked weights by name, zero for active weights.
        reached: ``reached(values, masks)`` returns the masks of the trained weights while ``masks`` apply (set B of
            Top-KAST). Gradient, momentum and decay leave all other weights unchanged.
        trainable: Current masks of the trained weights.
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
        # Only trainable weights take part in the step. Weight decay must not change the others.
        latent = list(self.latent.values())
        reached = torch._foreach_mul(latent, self.reach_factors)
        torch._foreach_sub_(latent, reached)
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
        masked = torch._foreach_mul(weights, self.mask_floats)
        torch._foreach_add_(list(self.latent.values()), torch._foreach_sub(weights, masked))
        torch._foreach_copy_(weights, masked)

    def state(self) -> dict[str, Tensors]:
        return {**super().state(), "latent": dict(self.latent), "reach": dict(self.trainable)}

    def restore(self, state: Mapping[str, Tensors]) -> None:
        super().restore(state)
        for name, value in state["latent"].items():
            self.latent[name].copy_(value)
        self.trainable = Masks(state["reach"])
        torch._foreach_copy_(self.reach_factors, list(self.trainable.values()))
