"""Bayesian connectivity sampling: a random walk activates and deactivates connections.

Özdenizci & Legenstein, "Training Adversarially Robust Sparse Networks via Bayesian Connectivity Sampling", ICML 2021,
after Bellec et al., "Deep Rewiring: Training Very Sparse Deep Networks", ICLR 2018.

A connection has a fixed sign and a strength w sign > 0. Strengths follow the gradient of loss and prior plus noise (a
Langevin walk). A connection with strength zero becomes dormant. At the same update, another dormant connection is drawn
at random and grows at strength zero. The layer is drawn in proportion to layer sizes, the position uniformly. The
number of active weights is constant in the network but not per layer. The masks are samples of a posterior over
connectivities.

The prior is the recipe's weight decay, as in the authors' code. If ``l1`` is above 0, an L1 penalty is added, as in
Deep Rewiring.

Departures:

- Signs are those of the initial weights.
- Training starts at ERK layer densities (authors: set by hand for each network).
- The noise is added to the gradient, before momentum (authors: to the strength, after the step).
- A dormant connection has no momentum.
- If a layer is full, its surplus goes to the other layers in proportion to their sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import allocate_proportionally
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask
from sparsweep.trainables.sparsifiers.masked_params import MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.timeline import TrainingSteps


@sparsifiers.register
class BayesianConnectivity(RandomMask):
    """Bayesian connectivity sampling: drop weights whose sign would change, grow random ones, in every step."""

    interval_field: ClassVar[str] = "update_interval"
    needs_every_gradient: ClassVar[bool] = True
    needs_dense_gradients: ClassVar[bool] = False

    name: Literal["bayesian_connectivity"] = "bayesian_connectivity"
    noise: float = Field(default=1e-6, ge=0, description="standard deviation of the noise on gradients (authors: 1e-6)")
    l1: float = Field(default=0.0, ge=0, description="weight of the L1 penalty on strengths (Deep Rewiring's prior)")
    update_interval: int = Field(default=1, ge=1, description="steps between two updates (both papers: 1)")

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return SignConstrainedParams(weights, optimizer, masks)

    @no_grad
    def on_gradients(self, context: UpdateContext, gradients: Tensors) -> None:
        device = next(iter(gradients.values())).device
        generator = torch.Generator(device).manual_seed(_seed(context.generator))
        for name, gradient in gradients.items():
            gradient.add_(context.weights[name].sign(), alpha=self.l1)
            noise = torch.randn(gradient.shape, generator=generator, device=device, dtype=gradient.dtype)
            gradient.sub_(noise, alpha=self.noise)

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        return range(self.update_interval, timeline.steps + 1, self.update_interval)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        kept = Masks({name: mask & (context.weights[name] != 0) for name, mask in masks.items()})
        # Two device-to-host transfers for all layers: the host draws the number of grown weights per layer.
        num_active, num_kept = masks.counts(), kept.counts()
        capacity = [mask.numel() - num_kept[name] for name, mask in masks.items()]
        random = np.random.default_rng(_seed(context.generator))
        sizes = [mask.numel() for mask in masks.values()]
        counts = draw_layers(sum(num_active.values()) - sum(num_kept.values()), sizes, capacity, random)
        layers = zip(kept.items(), capacity, counts, strict=True)
        return Masks({name: mask | draw_positions(~mask, free, count, random) for (name, mask), free, count in layers})


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def draw_layers(count: int, sizes: Sequence[int], capacity: Sequence[int], random: np.random.Generator) -> list[int]:
    """Draw the number of connections that grow in each layer.

    Each connection draws its layer independently, in proportion to ``sizes``. The surplus of a full layer goes to the
    others in proportion to their sizes.

    Args:
        count: Number of connections that grow in all layers.
        sizes: Number of weights per layer.
        capacity: Capacity per layer. No layer gets more.
        random: Generator of the draw.

    Returns:
        Number of connections per layer. The sum is ``count``.
    """
    drawn = random.multinomial(count, np.asarray(sizes) / sum(sizes)).tolist()
    assigned = [min(target, free) for target, free in zip(drawn, capacity, strict=True)]
    remaining = [free - number for free, number in zip(capacity, assigned, strict=True)]
    extra = allocate_proportionally(count - sum(assigned), sizes, remaining)
    return [number + more for number, more in zip(assigned, extra, strict=True)]


def draw_positions(candidates: torch.Tensor, free: int, count: int, random: np.random.Generator) -> torch.Tensor:
    """Draw ``count`` of the true elements of ``candidates`` uniformly.

    The cost is one pass over the layer without sorting, because this function may run in every step.

    Args:
        candidates: Boolean mask of the candidate positions.
        free: Number of true elements in ``candidates``.
        count: Number of positions to draw.
        random: Generator of the draw.

    Returns:
        Boolean tensor with the shape of ``candidates``.
    """
    drawn = torch.zeros_like(candidates)
    if count:
        picks = torch.from_numpy(random.choice(free, count, replace=False, shuffle=False) + 1).to(candidates.device)
        drawn.view(-1)[torch.searchsorted(candidates.flatten().cumsum(0), picks)] = True
    return drawn


class SignConstrainedParams(MaskedParams):
    """Masked parameters with fixed signs: a step that would change a sign sets the weight to zero."""

    graph_tensors = ("mask_floats", "signs")

    def __init__(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> None:
        # Here the weights are always the trial's initial ones: a checkpoint is restored after this call.
        self.signs = [torch.where(weight.detach() < 0, -1.0, 1.0) for weight in weights.values()]
        super().__init__(weights, optimizer, masks)

    @no_grad
    def step(self) -> None:
        super().step()
        weights = list(self.weights.values())
        torch._foreach_mul_(weights, self.signs)
        torch._foreach_clamp_min_(weights, 0.0)
        torch._foreach_mul_(weights, self.signs)
