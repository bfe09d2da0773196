"""Gradual magnitude pruning: from dense to sparse while training.

Zhu & Gupta, "To prune, or not to prune", 2017; as the paper uses it (appendix A.1): from 10 % to 80 % of training,
every four epochs, the smallest magnitudes of the whole network, sparsity along the cubic s(t) = s (1 - (1 - p)^3).

Departures from the authors' code (D11): the last event falls on the end of the interval, so that the final sparsity is
the asked one (there, by whole-number arithmetic on events, s (1 - (1/35)^3): ``events``), and weights are counted by
rank (there a weight at the threshold goes too, so that the first event, at sparsity 0, prunes one weight:
``strict_threshold``).
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
    """Gradual magnitude pruning: the smallest weights of the network go while it trains, along a cubic."""

    name: Literal["gmp"] = "gmp"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two prunings (paper: 4)")
    start_fraction: float = Field(default=0.1, ge=0, lt=1, description="share of training before the first pruning")
    stop_fraction: float = Field(default=0.8, gt=0, le=1, description="share of training at the last pruning")
    schedule: SparsitySchedule = Field(
        default="cubic", description="how sparsity grows from the first pruning to the last"
    )
    events: Literal["from_start", "multiples"] = Field(
        default="from_start",
        description="from_start: from the first step of the interval on, and at its end; multiples: at the multiples "
        "of update_every within it, its end left out (D11)",
    )
    strict_threshold: bool = Field(default=False, description="the weight at the threshold is pruned too (D11)")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.stop_fraction < self.start_fraction:
            why = f"{self.stop_fraction} is before start_fraction, {self.start_fraction}"
            raise SpecError("sparsifier.stop_fraction", f"{why}")

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

    def update(self, masks: Masks, moment: UpdateContext) -> Masks:
        kept = self.num_active_at(masks.size, moment.step, moment.spec, moment.timeline)
        # What is gone ranks below every weight that is there, a zero one too: pruning never revives.
        scores = {name: torch.where(masks[name], weight.abs(), -1.0) for name, weight in moment.weights.items()}
        return self.top_k(scores, kept, masks)

    def progress_by_step(self, timeline: TrainingSteps) -> dict[int, float]:
        """The progress in [0, 1] of pruning at each of its events, by step."""
        first, last = timeline.step_at(self.start_fraction), timeline.step_at(self.stop_fraction)
        course = EVENT_GRIDS[self.events](first, last, timeline.epochs_to_steps(self.update_every))
        if not course:
            span = f"steps {first} and {last} of {timeline.steps}"
            why = f"no multiple of {self.update_every:g} epochs lies between {span}"
            raise SpecError("sparsifier.events", f"{why}. Lower update_every, or raise recipe.epochs.")
        return course


def from_start(first: int, last: int, interval: int) -> dict[int, float]:
    """An event every ``interval`` steps from ``first`` on, and at ``last`` itself, where progress is 1."""
    length = last - first
    return {step: (step - first) / length if length else 1.0 for step in (*range(first, last, interval), last)}


def multiples(first: int, last: int, interval: int) -> dict[int, float]:
    """Events at the multiples of ``interval`` in [first, last), progress counted in whole intervals (authors' code)."""
    begin, end = first // interval, last // interval
    numbers = [number for number in range(max(begin, 1), end) if number * interval >= first]
    return {number * interval: (number - begin) / (end - begin) for number in numbers}


EVENT_GRIDS: dict[str, Callable[[int, int, int], dict[int, float]]] = {"from_start": from_start, "multiples": multiples}
