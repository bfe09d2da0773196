"""Outcome of every sample of one evaluation, from the logits of the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.pipeline.network import EVALUATION_BATCH
from sparsweep.trainables.training import calibration


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of N samples, as arrays on the host. Probabilities and losses are computed in float64.

    Attributes:
        labels: int64 ``(N,)``.
        predictions: int64 ``(N,)``, the class with the highest float32 logit.
        confidences: float64 ``(N,)``, probability of the prediction.
        label_probabilities: float64 ``(N,)``.
        losses: float64 ``(N,)``, cross-entropy in nats.
        squared_norms: float64 ``(N,)``, sum of the squared probabilities of all classes.
        energies: float64 ``(N,)``, negative logarithm of the sum of the exponentials of the logits.
    """

    labels: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    label_probabilities: np.ndarray
    losses: np.ndarray
    squared_norms: np.ndarray
    energies: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the label, bool ``(N,)``."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, in [0, 1]."""
        return float(self.correct.mean())

    def metrics(self) -> dict[str, float]:
        """Return the calibration columns of the table ``trials`` (see ``calibration``)."""
        return {
            "nll": float(self.losses.mean()),
            "brier": calibration.brier(self.squared_norms, self.label_probabilities),
            "ece": calibration.ece(self.confidences, self.correct),
            "adaptive_ece": calibration.adaptive_ece(self.confidences, self.correct),
            "aurc": calibration.aurc(self.confidences, self.correct),
            "worst_class_accuracy": calibration.worst_class_accuracy(self.labels, self.correct),
        }


@no_grad
def outcomes_of(logits: torch.Tensor, labels: torch.Tensor) -> Outcomes:
    """Return the outcomes of N samples.

    Args:
        logits: float32 ``(N, classes)``.
        labels: int64 ``(N,)`` on the same device.
    """
    predictions = logits.argmax(1)
    parts = [
        _probabilities(part, own, predicted)
        for part, own, predicted in zip(
            *(whole.split(EVALUATION_BATCH) for whole in (logits, labels, predictions)), strict=True
        )
    ]
    confidences, of_label, losses, norms, energies = (
        torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)
    )
    return Outcomes(labels.cpu().numpy(), predictions.cpu().numpy(), confidences, of_label, losses, norms, energies)


def _probabilities(logits: torch.Tensor, labels: torch.Tensor, predictions: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return confidence, label probability, loss, squared norm and energy of each sample."""
    logits = logits.double()
    energies = -logits.logsumexp(1)
    logs = logits + energies[:, None]
    probabilities = logs.exp()
    chosen = torch.stack([predictions, labels], 1)
    confidences, of_label = probabilities.gather(1, chosen).unbind(1)
    losses = -logs.gather(1, labels[:, None]).squeeze(1)
    return confidences, of_label, losses, probabilities.square().sum(1), energies
