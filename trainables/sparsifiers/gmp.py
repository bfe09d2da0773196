"""Gradual magnitude pruning: prune a dense network to the target sparsity during training.

Zhu & Gupta, "To prune, or not to prune", 2017. As the paper uses the method (appendix A.1): from 10 % to 80 % of
training, every four epochs, the smallest magnitudes of the whole network are pruned. Sparsity follows a cubic:

        s(t) = s (1 - (1 - p)^3),    p: the progress of pruning at step t, in [0, 1].

Departures from the authors' code (D11):

- The last pruning falls on the end of the interval, hence the final sparsity is exact. Integer arithmetic on events in
  the authors' code gives s (1 - (1/35)^3): see ``events``.
- Weights are counted by rank. In the authors' code the weight at the threshold is pruned too, hence the first event, at
  sparsity 0, prunes one weight: see ``strict_threshold``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import InitContext, MaskedSparsifier, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import LayerBudget
from sparsweep.trainables.sparsifiers.masks import Masks, num_active
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.timeline import RAMPS, SparsitySchedule, TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec


@sparsifiers.register
class GMP(LayerBudget, MaskedSparsifier):
    """Gradual magnitude pruning: prune the smallest weights of the network during training, along a cubic."""

    name: Literal["gmp"] = "gmp"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two prunings (paper: 4)")
    start_fraction: float = Field(default=0.1, ge=0, lt=1, description="share of training before the first pruning")
    stop_fraction: float = Field(default=0.8, gt=0, le=1, description="share of training at the last pruning")
    schedule: SparsitySchedule = Field(
        default="cubic", description="curve of the sparsity from the first pruning to the last"
    )
    events: Literal["from_start", "multiples"] = Field(
        default="from_start",
        description="from_start: from the first step of the interval on, and at its end; multiples: at the multiples "
        "of update_every in the interval, without its end (D11)",
    )
    strict_threshold: bool = Field(default=False, description="prune the weight at the threshold too (D11)")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.stop_fraction < self.start_fraction:
            problem = f"must be at least start_fraction {self.start_fraction} (got {self.stop_fraction})."
            raise SpecError("sparsifier.stop_fraction", problem)

    def initialize(self, start: InitContext) -> Masks:
        return Masks.full(start.weights)

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        return self.progress_by_step(timeline)

    def sparsity_at(self, step: int, spec: TrialSpec, timeline: TrainingSteps) -> float:
        due = [progress for event, progress in self.progress_by_step(timeline).items() if event <= step]
        return RAMPS[self.schedule](max(due), spec.sparsity) if due else 0.0

    def num_active_at(self, total: int, step: int, spec: TrialSpec, timeline: TrainingSteps) -> int:
        sparsity = self.sparsity_at(step, spec, timeline)
        if self.strict_threshold and step >= min(self.progress_by_step(timeline)):
            return max(1, int((1 - sparsity) * total) - 1)
        return num_active(total, sparsity)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        kept = self.num_active_at(masks.size, context.step, context.spec, context.timeline)
        # Masked weights rank below every active weight, zero ones included: pruning never regrows a weight.
        scores = {name: torch.where(masks[name], weight.abs(), -1.0) for name, weight in context.weights.items()}
        return self.top_k(scores, kept, masks)

    def progress_by_step(self, timeline: TrainingSteps) -> dict[int, float]:
        """Return the progress of pruning in [0, 1] at each pruning step.

        Raises:
            SpecError: No pruning step falls into the interval.
        """
        first, last = timeline.step_at(self.start_fraction), timeline.step_at(self.stop_fraction)
        progress = EVENT_GRIDS[self.events](first, last, timeline.epochs_to_steps(self.update_every))
        if not progress:
            span = f"steps {first} and {last} of {timeline.steps}"
            problem = f"no multiple of {self.update_every:g} epochs lies between {span} (got {self.events})"
            raise SpecError("sparsifier.events", f"{problem}. Lower update_every, or raise recipe.epochs.")
        return progress


def from_start(first: int, last: int, interval: int) -> dict[int, float]:
    """Prune every ``interval`` steps from ``first`` on, and at ``last``, where progress is 1.

    Args:
        first: First step of the interval.
        last: Last step of the interval.
        interval: Steps between two prunings.

    Returns:
        Progress in [0, 1] by step.
    """
    length = last - first
    return {step: (step - first) / length if length else 1.0 for step in (*range(first, last, interval), last)}


def multiples(first: int, last: int, interval: int) -> dict[int, float]:
    """Prune at the multiples of ``interval`` in [first, last), as the authors' code does.

    Args:
        first: First step of the interval.
        last: End of the interval, excluded.
        interval: Steps between two prunings.

    Returns:
        Progress in [0, 1] by step, counted in full intervals.
    """
    begin, end = first // interval, last // interval
    numbers = [number for number in range(max(begin, 1), end) if number * interval >= first]
    return {number * interval: (number - begin) / (end - begin) for number in numbers}


EVENT_GRIDS: dict[str, Callable[[int, int, int], dict[int, float]]] = {"from_start": from_start, "multiples": multiples}
