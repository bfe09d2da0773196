"""When a sparsifier acts and how strongly: whole step numbers, and functions of the progress of training.

A decay takes a rate from ``start`` to ``end``, a ramp takes the sparsity from 0 to ``final``, while progress goes from
0 to 1. Progress is that of steps: (step - first) / (last - first), and an action *at* a step happens just before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args


@dataclass(frozen=True)
class TrainingSteps:
    """The length of a training run. Steps are counted from 0; an action *at* step t happens just before step t.

    ``budget``: steps in all, where the last epoch is shorter than the others.
    """

    epochs: int
    steps_per_epoch: int
    budget: int | None = None

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch if self.budget is None else self.budget

    def first_step(self, epoch: int) -> int:
        """Steps of the first ``epoch`` epochs."""
        return min(epoch * self.steps_per_epoch, self.steps)

    def epochs_to_steps(self, epochs: float) -> int:
        """Steps in ``epochs`` epochs, at least one: with little data an interval never rounds down to nothing."""
        return max(1, round(epochs * self.steps_per_epoch))

    def step_at(self, fraction: float) -> int:
        """The step at ``fraction`` in [0, 1] of training; never beyond the last one, so that what is due happens."""
        return min(round(fraction * self.steps), self.steps - 1)


# Decays --------------------------------------------------------------------------------------------------------------


def constant(progress: float, start: float, end: float) -> float:
    """``start`` throughout."""
    return start


def linear(progress: float, start: float, end: float) -> float:
    """A straight line."""
    return start + (end - start) * progress


def cosine(progress: float, start: float, end: float) -> float:
    """``start`` at progress 0, ``end`` at progress 1, half a cosine between (Dettmers & Zettlemoyer 2019)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def exponential(progress: float, start: float, end: float) -> float:
    """A constant factor a step: start^(1 - progress) * end^progress. Both must be above 0."""
    return start * (end / start) ** progress


def steps(progress: float, start: float, end: float) -> float:
    """``start`` for three quarters, half way to ``end`` for the fourth, then ``end`` (Yuan et al., MEST, 2021)."""
    return start if progress < 0.75 else (start + end) / 2 if progress < 1 else end


Decay = Literal["cosine", "linear", "exponential", "constant", "steps"]
DECAYS: dict[Decay, Callable[[float, float, float], float]] = {
    "cosine": cosine,
    "linear": linear,
    "exponential": exponential,
    "constant": constant,
    "steps": steps,
}
assert set(DECAYS) == set(get_args(Decay))


# Ramps ---------------------------------------------------------------------------------------------------------------


def cubic(progress: float, final: float) -> float:
    """Sparsity 0 at progress 0 and ``final`` at 1: final * (1 - (1 - progress)^3) (Zhu & Gupta 2017, equation 1)."""
    return final * (1 - (1 - progress) ** 3)


def geometric(progress: float, final: float) -> float:
    """The density falls by a constant factor a step: 1 - (1 - final)^progress (Tanaka et al. 2020)."""
    return 1 - (1 - final) ** progress


SparsitySchedule = Literal["cubic", "cosine", "linear", "exponential", "constant"]
RAMPS: dict[SparsitySchedule, Callable[[float, float], float]] = {
    "cubic": cubic,
    "cosine": lambda progress, final: cosine(progress, 0.0, final),
    "linear": lambda progress, final: linear(progress, 0.0, final),
    "exponential": geometric,
    "constant": lambda progress, final: final,
}
"""``constant`` is one-shot pruning: all at the first event."""
assert set(RAMPS) == set(get_args(SparsitySchedule))
