"""Whether a network was trained to its end, from the history of its training.

A result of a network that was stopped early tells how fast a method trains, and not how well it learns. A trial is
*under-trained* if one of these holds:

- it does not fit its own training samples: ``fit_accuracy`` is below :data:`FIT` of what can be learned;
- it is still rising: over the last quarter of training the line through the test accuracies gains more than
  :data:`RISE`, and more than noise around a flat line would (one-sided t-test at :data:`NOISE`).

What can be learned is the difficulty's to say (``Difficulty.learnable``). Of wrong labels, none must be memorized: with
20 % label noise, 80 % can be learned. Under attack, no fit is asked for, and the trend decides alone.

A network too small to fit its samples counts as under-trained too, for nothing in one training tells the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIT = 0.98
"""Share of the learnable training labels that a network trained to its end predicts."""
RISE = 0.01
"""Gain of test accuracy over the last quarter of training that counts as still rising."""
NOISE = 0.01
"""Share of flat, noisy curves that may be taken for rising ones: a claim looks at dozens of trials."""
LATE = 0.25
"""Share of training, at its end, over which the trend is taken."""
MIN_STEPS = 1000
"""Optimizer steps below which ``plan`` expects under-trained networks, on any of the data sets here."""
MAX_FACTOR = 20
"""Extrapolations beyond so many times the epochs that were trained are reported as unknown."""
MIN_POINTS = 3
"""Points that a line needs to have a standard error."""


@dataclass(frozen=True)
class Trend:
    """A line through ``points`` evaluations: its ``gain`` over the last quarter of training, its standard ``error``."""

    gain: float
    error: float
    points: int

    @property
    def rising(self) -> bool:
        """Whether the gain is larger than :data:`RISE` and than noise explains."""
        from scipy.special import stdtrit  # here alone: a driver imports this module for its numbers

        return self.gain > max(RISE, self.error * float(stdtrit(self.points - 2, 1 - NOISE)))


def late_trend(epochs: Sequence[int], accuracies: Sequence[float | None], num_epochs: int) -> Trend | None:
    """Fit a line to the evaluations in the last quarter of training.

    Args:
        epochs: Epochs after which the network was evaluated, counted from 1.
        accuracies: Test accuracies in [0, 1] at these epochs; None where there was no evaluation.
        num_epochs: Epochs of the whole training.

    Returns:
        The trend, or None if fewer than three evaluations fall into that quarter.
    """
    first = (1 - LATE) * num_epochs
    points = [(epoch, value) for epoch, value in zip(epochs, accuracies, strict=True) if value is not None]
    late = [(epoch / num_epochs, value) for epoch, value in points if epoch >= first]
    if len(late) < MIN_POINTS:
        return None
    x, y = np.array(late).T
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    residuals = y - y.mean() - slope * x
    variance = float(residuals @ residuals) / (len(late) - 2) / float(x @ x)
    return Trend(LATE * slope, LATE * math.sqrt(variance), len(late))


def is_undertrained(fit_accuracy: float, learnable: float | None, trend: Trend | None) -> bool | None:
    """Apply the rule of this module.

    Args:
        fit_accuracy: Accuracy of the final network on its own training samples, in [0, 1].
        learnable: Share of the training labels that can be learned; None if no fit is asked for.
        trend: That of the test accuracy, or None if it is unknown.

    Returns:
        True or False, or None if the trend is unknown and nothing else tells.
    """
    if learnable is not None and fit_accuracy < FIT * learnable:
        return True
    return None if trend is None else trend.rising


def epochs_to_fit(
    train_accuracies: Sequence[float],
    rates: Sequence[float],
    fit_accuracy: float,
    learnable: float | None,
    num_epochs: int,
) -> int | None:
    """Extrapolate how many epochs the same schedule, stretched, needs to fit its samples.

    The training error is taken to fall as a power of the epochs, e = a * t^-b. The power is that of the later half of
    the epochs at the initial learning rate. Stretching the schedule by a factor k then divides the final error by k^b.

    Args:
        train_accuracies: Accuracy of each epoch's training batches, in [0, 1].
        rates: Learning rate of each epoch.
        fit_accuracy: As for :func:`is_undertrained`.
        learnable: As for :func:`is_undertrained`.
        num_epochs: Epochs of the whole training.

    Returns:
        The number of epochs; None if the samples are fitted, no fit is asked for, or it cannot be told.
    """
    if learnable is None or fit_accuracy >= FIT * learnable:
        return None
    at_first_rate = sum(rate == rates[0] for rate in rates)
    errors = [(t, 1 - accuracy / learnable) for t, accuracy in enumerate(train_accuracies[:at_first_rate], start=1)]
    later = [(t, error) for t, error in errors[at_first_rate // 2 :] if error > 0]
    if len(later) < MIN_POINTS:
        return None
    t, error = np.log(np.array(later)).T
    t = t - t.mean()
    power = -float(t @ error / (t @ t))
    excess = (1 - fit_accuracy / learnable) / (1 - FIT)
    if power <= 0 or math.log(excess) > power * math.log(MAX_FACTOR):
        return None
    return math.ceil(num_epochs * excess ** (1 / power))
