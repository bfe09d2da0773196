"""Calibration, selective prediction and out-of-distribution detection, from the probabilities of a test set.

Definitions and ties are those of torchmetrics and TorchUncertainty; tests compare the values.
"""

from __future__ import annotations

import numpy as np

BINS = 15
"""Number of bins of the calibration errors (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017)."""


def ece(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error with :data:`BINS` bins of equal width, in [0, 1].

    The mean over the samples of |accuracy - mean confidence| of the sample's bin.

    Args:
        confidences: float ``(N,)`` in [0, 1].
        correct: bool ``(N,)``.
    """
    # A confidence of exactly 1 gets a bin of its own, as in torchmetrics.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1), confidences, side="right") - 1
    sums = [np.bincount(bins, values, BINS + 1) for values in (correct, confidences)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(confidences))


def adaptive_ece(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error with :data:`BINS` bins of equal size, in [0, 1].

    Nixon et al., "Measuring Calibration in Deep Learning", CVPR workshops 2019. The bins are runs of the samples sorted
    by confidence.

    Args:
        confidences: float ``(N,)`` in [0, 1].
        correct: bool ``(N,)``.
    """
    order = np.argsort(confidences, kind="stable")
    gaps = np.array_split(correct[order] - confidences[order], BINS)
    return float(sum(abs(gap.sum()) for gap in gaps) / len(confidences))


def brier(squared_norms: np.ndarray, label_probabilities: np.ndarray) -> float:
    """Return the mean squared distance between the probabilities and the label as a unit vector, in [0, 2].

    Args:
        squared_norms: float ``(N,)``, sums of the squared probabilities of all classes.
        label_probabilities: float ``(N,)``, probabilities of the labels.
    """
    return float((squared_norms - 2 * label_probabilities + 1).mean())


def aurc(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the area under the curve of the error rate over coverage, in [0, 1]; 0 is best.

    Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019. At coverage k / N, the
    error rate is that of the k most confident samples. The area from 1 / N to 1 is divided by its width.

    Args:
        confidences: float ``(N,)`` in [0, 1].
        correct: bool ``(N,)``. One sample alone gives its own error.
    """
    order = np.argsort(-confidences, kind="stable")
    count = np.arange(1, len(order) + 1)
    rates = np.cumsum(~correct[order]) / count
    if len(order) == 1:
        return float(rates[0])
    return float((rates[:-1] + rates[1:]).sum() / (2 * (len(order) - 1)))


def worst_class_accuracy(labels: np.ndarray, correct: np.ndarray) -> float:
    """Return the lowest accuracy of a class that has samples, in [0, 1].

    Args:
        labels: int ``(N,)``.
        correct: bool ``(N,)``.
    """
    sizes, hits = np.bincount(labels), np.bincount(labels, correct)
    return float((hits[sizes > 0] / sizes[sizes > 0]).min())


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return the probability that a score of an in-distribution sample exceeds one of an out-of-distribution sample.

    The area under the receiver operating characteristic. Equal scores count one half.

    Args:
        inside: float ``(N,)``, scores of in-distribution samples.
        outside: float ``(M,)``, scores of out-of-distribution samples.
    """
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left") + np.searchsorted(ordered, inside, side="right")
    return float(below.sum() / (2 * len(inside) * len(outside)))
