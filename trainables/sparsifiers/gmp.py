"""Gradual magnitude pruning: from dense to sparse while training.

Zhu & Gupta, "To prune, or not to prune", 2017; as the paper uses it (appendix A.1): from 10 % to 80 % of training,
every four epochs, the smallest magnitudes of the whole network, sparsity along the cubic s(t) = s (1 - (1 - p)^3).

Departures from the authors' code: weights are counted by rank, and the last event falls on the end of the interval,
so that the final sparsity is the asked one (there: s (1 - (1/35)^3), by whole-number arithmetic on events).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from trainables.sparsifiers.base import Moment, Sparse, Start, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_largest, kept_weights
from trainables.sparsifiers.schedules import Timeline, cubic

if TYPE_CHECKING:
    from trainables.spec import TrialSpec


@sparsifiers.register
class GMP(Sparse):
    """Gradual magnitude pruning: the smallest weights of the network go while it trains, along a cubic."""

    name: Literal["gmp"] = "gmp"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two prunings (paper: 4)")
    start_fraction: float = Field(default=0.1, ge=0, lt=1, description="share of training before the first pruning")
    stop_fraction: float = Field(default=0.8, gt=0, le=1, description="share of training at the last pruning")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.stop_fraction < self.start_fraction:
            why = f"{self.stop_fraction} is before start_fraction, {self.start_fraction}"
            raise ValueError(f"sparsifier.stop_fraction: {why}")

    def initialize(self, start: Start) -> Masks:
        return Masks.full(start.weights)

    def update_steps(self, timeline: Timeline) -> Collection[int]:
        first, last = timeline.at(self.start_fraction), timeline.at(self.stop_fraction)
        return {*range(first, last, timeline.interval(self.update_every)), last}

    def sparsity_at(self, step: int, spec: TrialSpec, timeline: Timeline) -> float:
        due = [event for event in self.update_steps(timeline) if event <= step]
        if not due:
            return 0.0
        first, last = timeline.at(self.start_fraction), timeline.at(self.stop_fraction)
        progress = (max(due) - first) / (last - first) if last > first else 1.0
        return cubic(progress, spec.sparsity)

    def update(self, masks: Masks, moment: Moment) -> Masks:
        kept = kept_weights(masks.size, self.sparsity_at(moment.step, moment.spec, moment.timeline))
        # What is gone ranks below every weight that is there, a zero one too: pruning never revives.
        scores = {name: torch.where(masks[name], weight.abs(), -1.0) for name, weight in moment.weights.items()}
        return keep_largest(scores, kept)
