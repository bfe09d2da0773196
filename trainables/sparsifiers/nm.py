"""N:M sparsity: at most N of every M consecutive weights are active, the pattern of sparse tensor cores.

Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021 (SR-STE). In every
step the N largest magnitudes of each group of M are active. Gradients reach all weights as if all were active
(straight-through). The term ``decay`` * w in the gradient pulls masked weights to zero and stabilizes the masks.
``training: fixed`` keeps the masks of the initial magnitudes instead.

Groups lie along the inner dimension of the hardware's matrix product: ``(out, in)`` of a linear layer, ``(out, height,
width, in)`` of a convolution. M neighbors are input channels at one kernel position if M divides the number of
channels. If M does not divide a row, the row ends in an incomplete group. The incomplete groups of a layer are filled
together, by magnitude, to the layer's N/M (within one weight). The total is exact, but hardware treats this layer as
dense.

Departure from the authors' code: every convolution and linear layer is masked, the classifier and the first one too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.base import InitContext, Sparsifier, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.masked_params import LatentParams, MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import Masks, largest
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec


@sparsifiers.register
class NM(Sparsifier):
    """N of every M neighboring weights (default 2:4), by magnitude in every step (SR-STE), or fixed."""

    name: Literal["nm"] = "nm"
    n: int = Field(default=2, ge=1, description="active weights per group")
    m: int = Field(default=4, ge=2, description="weights per group")
    training: Literal["sr_ste", "fixed"] = Field(
        default="sr_ste",
        description="sr_ste: masks follow the magnitudes; fixed: masks of the initial weights",
    )
    decay: float = Field(default=2e-4, ge=0, description="pull of masked weights to zero (SR-STE: 2e-4)")
    update_every: float = Field(default=0.0, ge=0, description="epochs between two mask updates (0: every step)")

    def check(self, spec: TrialSpec) -> None:
        if self.n >= self.m:
            raise SpecError("sparsifier.n", f"must be less than m {self.m} (got {self.n}).")
        if not math.isclose(spec.sparsity, 1 - self.n / self.m, abs_tol=1e-6):
            raise SpecError("sparsity", f"{self.n}:{self.m} needs {1 - self.n / self.m:.6g} (got {spec.sparsity:g}).")

    @property
    def dynamic(self) -> bool:
        return self.training != "fixed"

    def num_active_at(self, total: int, step: int, spec: TrialSpec, timeline: TrainingSteps) -> int:
        return round(total * self.n / self.m)

    def initialize(self, start: InitContext) -> Masks:
        return self.choose(start.weights)

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        if self.training == "fixed":
            return super().masked_params(weights, optimizer, masks)
        return SrSteParams(weights, optimizer, masks, self.decay)

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        if self.training == "fixed":
            return ()
        interval = timeline.epochs_to_steps(self.update_every)
        return range(interval, timeline.steps + 1, interval)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        return self.choose(context.weights)

    def choose(self, weights: Mapping[str, torch.Tensor]) -> Masks:
        """Return masks of the N largest magnitudes of every group."""
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        total = round(distributions.num_weights(shapes) * self.n / self.m)
        counts = distributions.allocate(shapes, distributions.uniform(shapes, self.n / self.m), total)
        return Masks({name: group_mask(weight, self.n, self.m, counts[name]) for name, weight in weights.items()})


class SrSteParams(LatentParams):
    """Latent parameters whose gradients reach all weights. ``decay`` pulls the masked ones to zero (SR-STE)."""

    def __init__(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks, decay: float) -> None:
        self.decay = decay
        super().__init__(weights, optimizer, masks, lambda values, masks: Masks.full(values))

    @no_grad
    def step(self) -> None:
        # Latent values are zero for active weights: the decay acts on masked weights only.
        torch._foreach_add_(self.gradients(), list(self.latent.values()), alpha=self.decay)
        super().step()


def group_mask(weight: torch.Tensor, n: int, m: int, count: int) -> torch.Tensor:
    """Select the ``n`` largest |w| of every complete group of ``m``. Of equal magnitudes the earlier one is selected.

    Args:
        weight: Weights of one layer, ``(out, in)`` or ``(out, in, height, width)``.
        n: Active weights per group.
        m: Weights per group.
        count: Active weights of the layer. Incomplete groups fill up to this number.

    Returns:
        Boolean tensor with the shape of ``weight``.
    """
    inner_last = weight.abs().movedim(1, -1)
    rows = inner_last.flatten(1)
    num_grouped = rows.shape[1] // m * m
    groups, rest = rows[:, :num_grouped].reshape(-1, m), rows[:, num_grouped:]
    top_n = groups.argsort(dim=1, descending=True, stable=True)[:, :n]
    in_groups = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, top_n, True)
    in_rest = largest(rest, count - n * len(groups))
    mask = torch.cat([in_groups.view(len(rows), num_grouped), in_rest], dim=1)
    return mask.view(inner_last.shape).movedim(-1, 1)
