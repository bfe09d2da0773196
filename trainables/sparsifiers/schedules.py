"""When a sparsifier acts and how strongly: whole step numbers, and functions of the progress of training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Timeline:
    """The length of a training run. Steps are counted from 0; an action *at* step t happens just before step t."""

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def interval(self, epochs: float) -> int:
        """Steps in ``epochs`` epochs, at least one: with little data an interval never rounds down to nothing."""
        return max(1, round(epochs * self.steps_per_epoch))

    def at(self, fraction: float) -> int:
        """The step at ``fraction`` in [0, 1] of training; never beyond the last one, so that what is due happens."""
        return min(round(fraction * self.steps), self.steps - 1)


def cosine(progress: float, start: float, end: float) -> float:
    """``start`` at progress 0, ``end`` at progress 1, half a cosine between (Dettmers & Zettlemoyer 2019)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def cubic(progress: float, final: float) -> float:
    """Sparsity 0 at progress 0 and ``final`` at 1: final * (1 - (1 - progress)^3) (Zhu & Gupta 2017, equation 1)."""
    return final * (1 - (1 - progress) ** 3)
