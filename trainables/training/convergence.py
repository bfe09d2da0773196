"""Convergence of a training, from its history.

The result of a network that was stopped early shows how fast a method trains, not how well it learns. A trial is
*under-trained* if one of these conditions holds:

- the network does not fit its own training samples: ``fit_accuracy`` is below :data:`FIT` of the learnable share;
- accuracy still rises: over the last quarter of training a line through the test accuracies gains more than
  :data:`RISE`, and significantly more than a flat line with noise (one-sided t-test at :data:`NOISE`).

The difficulty defines the learnable share (``Difficulty.learnable``). Wrong labels need not be memorized: with 20 %
label noise, 80 % are learnable. Under attack no fit is required, and only the trend counts.

A network too small to fit its samples counts as under-trained too: one training cannot separate the two cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIT = 0.98
"""Share of the learnable training labels that a converged network predicts."""
RISE = 0.01
"""Gain of test accuracy over the last quarter of training above which accuracy still rises."""
NOISE = 0.01
"""Significance level: share of flat, noisy curves that count as rising. A claim tests dozens of trials."""
LATE = 0.25
"""Share of training, at its end, that the trend covers."""
MIN_STEPS = 1000
"""Optimizer steps below which ``plan`` expects under-trained networks, on any of the built-in data sets."""
MAX_FACTOR = 20
"""Maximum ratio of extrapolated to trained epochs. Larger extrapolations are reported as unknown."""
MIN_POINTS = 3
"""Minimum number of points of a line with a standard error."""


@dataclass(frozen=True)
class Trend:
    """Line through the last evaluations of a training.

    Attributes:
        gain: Gain of accuracy over the last quarter of training.
        error: Standard error of the gain.
        points: Number of evaluations.
    """

    gain: float
    error: float
    points: int

    @property
    def rising(self) -> bool:
        """Whether the gain exceeds :data:`RISE` and is significant."""
        from scipy.special import stdtrit  # slow import: the driver needs only this module's constants

        return self.gain > max(RISE, self.error * float(stdtrit(self.points - 2, 1 - NOISE)))


def late_trend(epochs: Sequence[int], accuracies: Sequence[float | None], num_epochs: int) -> Trend | None:
    """Fit a line to the evaluations in the last quarter of training.

    Args:
        epochs: Epochs after which the network was evaluated, counted from 1.
        accuracies: Test accuracies in [0, 1] at these epochs, or None without an evaluation.
        num_epochs: Epochs of the full training.

    Returns:
        The trend, or None if the quarter has fewer than three evaluations.
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
    """Return whether a trial is under-trained (see the module docstring).

    Args:
        fit_accuracy: Accuracy of the final network on its own training samples, in [0, 1].
        learnable: Share of the training labels that can be learned, or None if no fit is required.
        trend: Trend of the test accuracy, or None if unknown.

    Returns:
        True or False, or None if the trend is unknown and the fit does not decide.
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
    """Extrapolate the number of epochs that the same schedule, stretched, needs to fit the samples.

    The model is a power law of the training error: e = a * t^-b. The exponent b is fitted to the later half of the
    epochs at the initial learning rate. A schedule stretched by a factor k then divides the final error by k^b.

    Args:
        train_accuracies: Accuracy on each epoch's training batches, in [0, 1].
        rates: Learning rate of each epoch.
        fit_accuracy: As for :func:`is_undertrained`.
        learnable: As for :func:`is_undertrained`.
        num_epochs: Epochs of the full training.

    Returns:
        Number of epochs, or None if the samples are fitted, no fit is required, or the number is unknown.
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
