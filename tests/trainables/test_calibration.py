"""Calibration metrics: examples worked by hand, and torchmetrics as reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchmetrics.functional import classification as reference

from sparsweep.trainables.training import calibration
from sparsweep.trainables.training.outcomes import Outcomes, outcomes_of


@pytest.fixture(params=[0, 1, 2])
def logits(request: pytest.FixtureRequest) -> torch.Tensor:
    return 3 * torch.randn(1537, 7, generator=torch.Generator().manual_seed(request.param))


@pytest.fixture
def labels(logits: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(9))
    return (logits + 3 * noise).argmax(1)


@pytest.fixture
def outcomes(logits: torch.Tensor, labels: torch.Tensor) -> Outcomes:
    return outcomes_of(logits, labels)


def test_outcomes_by_hand() -> None:
    """Two classes with probabilities 3/4 and 1/4, and three equal classes."""
    found = outcomes_of(torch.log(torch.tensor([[3.0, 1.0, 1e-30], [1.0, 1.0, 1.0]])), torch.tensor([1, 2]))
    assert found.predictions.tolist() == [0, 0] and found.correct.tolist() == [False, False]
    assert found.confidences == pytest.approx([0.75, 1 / 3]) and found.label_probabilities == pytest.approx(
        [0.25, 1 / 3]
    )
    assert found.losses == pytest.approx([np.log(4), np.log(3)])
    assert found.squared_norms == pytest.approx([10 / 16, 1 / 3]) and found.energies == pytest.approx(-np.log([4, 3]))


def test_ece_by_hand() -> None:
    """Bins of width 1/15: 0.5 and 0.52 share one (accuracy 1/2, confidence 0.51), 0.9 and 1.0 have their own."""
    confidences, correct = np.array([0.5, 0.52, 0.9, 1.0]), np.array([True, False, True, False])
    assert calibration.ece(confidences, correct) == pytest.approx((0.02 + 0.1 + 1.0) / 4)


def test_adaptive_ece_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bins of three and two samples by confidence: 0.1 0.2 0.3 (one correct) and 0.6 0.8 (both correct)."""
    monkeypatch.setattr(calibration, "BINS", 2)
    confidences, correct = np.array([0.8, 0.1, 0.3, 0.2, 0.6]), np.array([True, False, True, False, True])
    assert calibration.adaptive_ece(confidences, correct) == pytest.approx((0.4 + 0.6) / 5)


def test_aurc_by_hand() -> None:
    """Error rates 0, 1/2, 1/3 at coverage 1/3, 2/3, 1: trapezoids 1/12 + 5/36, divided by 2/3."""
    confidences, correct = np.array([0.5, 0.9, 0.7]), np.array([True, True, False])
    assert calibration.aurc(confidences, correct) == pytest.approx((1 / 12 + 5 / 36) / (2 / 3))
    assert calibration.aurc(np.array([0.3]), np.array([False])) == 1.0


def test_worst_class_accuracy_by_hand() -> None:
    """Class 1 has one of two correct, class 4 both; classes without samples do not count."""
    labels, correct = np.array([1, 4, 1, 4]), np.array([True, True, False, True])
    assert calibration.worst_class_accuracy(labels, correct) == 0.5


def test_auroc_by_hand() -> None:
    """Of four pairs two are ordered, one is tied, one is reversed."""
    assert calibration.auroc(np.array([0.5, 0.9]), np.array([0.5, 0.7])) == pytest.approx((0.5 + 0 + 1 + 1) / 4)


def test_metrics_equal_torchmetrics(logits: torch.Tensor, labels: torch.Tensor, outcomes: Outcomes) -> None:
    probabilities, found = logits.double().softmax(1), outcomes.metrics()
    ece = reference.multiclass_calibration_error(probabilities, labels, num_classes=7, n_bins=15, norm="l1")
    per_class = reference.multiclass_accuracy(logits, labels, num_classes=7, average=None)
    one_hot = functional.one_hot(labels, 7)
    assert found["ece"] == pytest.approx(ece.item(), abs=1e-6)
    assert found["nll"] == pytest.approx(functional.cross_entropy(logits.double(), labels).item(), abs=1e-9)
    assert found["brier"] == pytest.approx((probabilities - one_hot).square().sum(1).mean().item(), abs=1e-9)
    assert found["worst_class_accuracy"] == pytest.approx(per_class.min().item(), abs=1e-6)
    assert outcomes.accuracy == (logits.argmax(1) == labels).double().mean().item()


def test_auroc_equals_torchmetrics(outcomes: Outcomes) -> None:
    scores = outcomes.confidences.round(2)  # with ties
    inside, outside = scores[:700], scores[700:] ** 2
    target = torch.tensor([1] * len(inside) + [0] * len(outside))
    expected = reference.binary_auroc(torch.tensor(np.concatenate([inside, outside])), target)
    assert calibration.auroc(inside, outside) == pytest.approx(expected.item(), abs=1e-6)


def torch_uncertainty_aurc(confidences: np.ndarray, correct: np.ndarray) -> float:
    """The definition of TorchUncertainty 0.13, written with torch."""
    errors = torch.tensor(~correct).double()[torch.tensor(confidences).argsort(descending=True)]
    count = torch.arange(1, len(errors) + 1).double()
    return (torch.trapezoid(errors.cumsum(0) / count, count / len(errors)) / (1 - 1 / len(errors))).item()


def torch_uncertainty_adaptive_ece(confidences: np.ndarray, correct: np.ndarray) -> float:
    """The definition of TorchUncertainty 0.13, written with torch."""
    ordered, order = torch.tensor(confidences).sort()
    bins = zip(ordered.tensor_split(15), torch.tensor(correct).double()[order].tensor_split(15), strict=True)
    return sum(len(c) / len(ordered) * (a.mean() - c.mean()).abs().item() for c, a in bins)


def test_metrics_equal_torch_uncertainty(outcomes: Outcomes) -> None:
    found, arguments = outcomes.metrics(), (outcomes.confidences, outcomes.correct)
    assert found["aurc"] == pytest.approx(torch_uncertainty_aurc(*arguments), abs=1e-6)
    assert found["adaptive_ece"] == pytest.approx(torch_uncertainty_adaptive_ece(*arguments), abs=1e-6)
