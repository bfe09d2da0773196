"""Schedules of a sparsifier: integer step numbers, and functions of training progress.

A decay changes a rate from ``start`` to ``end`` while progress goes from 0 to 1. A ramp changes the sparsity from 0 to
``final``. Progress is (step - first) / (last - first). An action *at* a step happens just before that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args


@dataclass(frozen=True)
class TrainingSteps:
    """Length of a training run. Steps are counted from 0.

    Attributes:
        epochs: Number of epochs.
        steps_per_epoch: Number of optimizer steps per epoch.
        budget: Total number of steps if the last epoch is shorter than the others, else None.
    """

    epochs: int
    steps_per_epoch: int
    budget: int | None = None

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return self.epochs * self.steps_per_epoch if self.budget is None else self.budget

    def first_step(self, epoch: int) -> int:
        """Return the first step of ``epoch``, counted from 0."""
        return min(epoch * self.steps_per_epoch, self.steps)

    def epochs_to_steps(self, epochs: float) -> int:
        """Return the number of steps in ``epochs`` epochs, at least 1 (small data sets have few steps per epoch)."""
        return max(1, round(epochs * self.steps_per_epoch))

    def step_at(self, fraction: float) -> int:
        """Return the step at ``fraction`` in [0, 1] of training, at most the last step so that its action happens."""
        return min(round(fraction * self.steps), self.steps - 1)


# Decays --------------------------------------------------------------------------------------------------------------


def constant(progress: float, start: float, end: float) -> float:
    """Return ``start`` at every progress."""
    return start


def linear(progress: float, start: float, end: float) -> float:
    """Interpolate linearly from ``start`` to ``end``."""
    return start + (end - start) * progress


def cosine(progress: float, start: float, end: float) -> float:
    """Interpolate from ``start`` to ``end`` along half a cosine period (Dettmers & Zettlemoyer 2019)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def exponential(progress: float, start: float, end: float) -> float:
    """Interpolate by a constant factor per step: start^(1 - progress) * end^progress. Both must be above 0."""
    return start * (end / start) ** progress


def steps(progress: float, start: float, end: float) -> float:
    """Return ``start`` below progress 0.75, the mean of both below 1, then ``end`` (Yuan et al., MEST, 2021)."""
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
    """Return the sparsity final * (1 - (1 - progress)^3) (Zhu & Gupta 2017, equation 1)."""
    return final * (1 - (1 - progress) ** 3)


def geometric(progress: float, final: float) -> float:
    """Return 1 - (1 - final)^progress: the density falls by a constant factor per step (Tanaka et al. 2020)."""
    return 1 - (1 - final) ** progress


SparsitySchedule = Literal["cubic", "cosine", "linear", "exponential", "constant"]
RAMPS: dict[SparsitySchedule, Callable[[float, float], float]] = {
    "cubic": cubic,
    "cosine": lambda progress, final: cosine(progress, 0.0, final),
    "linear": lambda progress, final: linear(progress, 0.0, final),
    "exponential": geometric,
    "constant": lambda progress, final: final,
}
"""Sparsity ramps by name. ``constant`` is one-shot pruning: the first event prunes all weights."""
assert set(RAMPS) == set(get_args(SparsitySchedule))
