"""Bayesian connectivity sampling: connections come and go by a random walk.

Özdenizci & Legenstein, "Training Adversarially Robust Sparse Networks via Bayesian Connectivity Sampling", ICML 2021,
after Bellec et al., "Deep Rewiring: Training Very Sparse Deep Networks", ICLR 2018. A connection has a sign for ever
and a strength w sign > 0. Strengths follow the gradient of loss and prior plus noise (a Langevin walk); one that falls
to zero becomes dormant, and at once another dormant connection, drawn at random, is woken at strength zero: of which
layer is drawn in proportion to layer sizes, which one evenly. So the number is constant in the network, not in its
layers, and the masks are samples of a posterior over connectivities.

The prior is the recipe's weight decay, as in the authors' code, and an L1 penalty where ``l1`` asks for one, as in Deep
Rewiring. Departures: signs are those of the initial weights; ERK layer densities at the start (there: chosen by hand
for each network); the noise is added to the gradient, so that momentum sees it (there: to the strength after the
step); a dormant connection has no momentum. What is drawn for a full layer goes to the others by their size.
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
    """Connections of fixed sign that fall dormant at zero, where random others are woken, in every step."""

    interval_field: ClassVar[str] = "update_interval"
    needs_every_gradient: ClassVar[bool] = True
    needs_dense_gradients: ClassVar[bool] = False

    name: Literal["bayesian_connectivity"] = "bayesian_connectivity"
    noise: float = Field(default=1e-6, ge=0, description="standard deviation of the noise on gradients (authors: 1e-6)")
    l1: float = Field(default=0.0, ge=0, description="weight of an L1 penalty on strengths (Deep Rewiring's prior)")
    update_interval: int = Field(default=1, ge=1, description="steps between two updates (both papers: 1)")

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return SignConstrainedParams(weights, optimizer, masks)

    @no_grad
    def on_gradients(self, moment: UpdateContext, gradients: Tensors) -> None:
        device = next(iter(gradients.values())).device
        generator = torch.Generator(device).manual_seed(_seed(moment.generator))
        for name, gradient in gradients.items():
            gradient.add_(moment.weights[name].sign(), alpha=self.l1)
            noise = torch.randn(gradient.shape, generator=generator, device=device, dtype=gradient.dtype)
            gradient.sub_(noise, alpha=self.noise)

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        return range(self.update_interval, timeline.steps + 1, self.update_interval)

    def update(self, masks: Masks, moment: UpdateContext) -> Masks:
        alive = Masks({name: mask & (moment.weights[name] != 0) for name, mask in masks.items()})
        # Two transfers for all layers: how many are woken in which layer is drawn on the host.
        there, living = masks.counts(), alive.counts()
        room = [mask.numel() - living[name] for name, mask in masks.items()]
        random = np.random.default_rng(_seed(moment.generator))
        sizes = [mask.numel() for mask in masks.values()]
        counts = draw_layers(sum(there.values()) - sum(living.values()), sizes, room, random)
        drawn = zip(alive.items(), room, counts, strict=True)
        return Masks({name: mask | draw_places(~mask, free, count, random) for (name, mask), free, count in drawn})


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def draw_layers(count: int, sizes: Sequence[int], room: Sequence[int], random: np.random.Generator) -> list[int]:
    """How many of ``count`` connections each layer gets: each is drawn by itself, in proportion to ``sizes``.

    None above its ``room``; what is beyond it goes to the others in proportion to their sizes.
    """
    drawn = random.multinomial(count, np.asarray(sizes) / sum(sizes)).tolist()
    taken = [min(wanted, free) for wanted, free in zip(drawn, room, strict=True)]
    left = [free - found for free, found in zip(room, taken, strict=True)]
    extra = allocate_proportionally(count - sum(taken), sizes, left)
    return [found + more for found, more in zip(taken, extra, strict=True)]


def draw_places(places: torch.Tensor, free: int, count: int, random: np.random.Generator) -> torch.Tensor:
    """``count`` of the ``free`` true elements of ``places``, evenly drawn; boolean, of its shape.

    Costs one pass over the layer and no sorting, for it may happen in every step.
    """
    drawn = torch.zeros_like(places)
    if count:
        picks = torch.from_numpy(random.choice(free, count, replace=False, shuffle=False) + 1).to(places.device)
        drawn.view(-1)[torch.searchsorted(places.flatten().cumsum(0), picks)] = True
    return drawn


class SignConstrainedParams(MaskedParams):
    """Every weight keeps the sign that it began with: a step that would change it ends at zero."""

    graph_tensors = ("mask_floats", "signs")

    def __init__(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> None:
        # The weights are the trial's initial ones whenever a topology is made, before a checkpoint is restored too.
        self.signs = [torch.where(weight.detach() < 0, -1.0, 1.0) for weight in weights.values()]
        super().__init__(weights, optimizer, masks)

    @no_grad
    def step(self) -> None:
        super().step()
        weights = list(self.weights.values())
        torch._foreach_mul_(weights, self.signs)
        torch._foreach_clamp_min_(weights, 0.0)
        torch._foreach_mul_(weights, self.signs)
