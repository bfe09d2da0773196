"""Scores computed from final logits (loss, margin, entropy) or from all epochs (forgetting, aum), by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.difficulties.scores import aum
from sparsweep.trainables.difficulties.scores.base import SCORES
from sparsweep.trainables.difficulties.scores.entropy import entropy
from sparsweep.trainables.difficulties.scores.forgetting import ForgettingScore, after_epoch, forgetting, ignorance
from sparsweep.trainables.difficulties.scores.loss import loss
from sparsweep.trainables.difficulties.scores.margin import margin
from sparsweep.trainables.pipeline.device_data import DeviceData

QUARTERS = torch.tensor([[0.0, math.log(3)]] * 2)
"""Logits whose softmax is (1/4, 3/4)."""


def data(labels: list[int], classes: int = 3) -> DeviceData:
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    return DeviceData(images, torch.tensor(labels), images, torch.tensor(labels), classes, (0.5,), (0.25,))


def view(logits: Any, labels: list[int], epoch: int = 1) -> Any:
    """Return a fake view of a network, as the scores receive it."""
    return SimpleNamespace(logits=torch.as_tensor(logits), labels=torch.tensor(labels), epoch=epoch)


def final(score: str, logits: Any, labels: list[int]) -> list[float]:
    scores = SCORES[score](data(labels)).compute(view(logits, labels))
    assert scores.dtype == torch.float64
    return scores.tolist()


# Scores of final logits ----------------------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    """-ln 1/4 for label 0, -ln 3/4 for label 1."""
    assert loss(QUARTERS, torch.tensor([0, 1])).tolist() == pytest.approx([math.log(4), math.log(4 / 3)], rel=1e-6)


def test_loss_of_a_certain_prediction_is_finite_and_exact() -> None:
    """A logit difference of 1000 gives a loss of 1000. The softmax itself would underflow to 0."""
    assert loss(torch.tensor([[1000.0, 0.0]] * 2), torch.tensor([0, 1])).tolist() == [0.0, 1000.0]


def test_margin_by_hand() -> None:
    """Largest logit of the other classes: 5 for label 0, 5 for label 2, 2 for label 1."""
    values = torch.tensor([[2.0, 5.0, -1.0]] * 3)
    assert margin(values, torch.tensor([0, 2, 1])).tolist() == [-3.0, -6.0, 3.0]


def test_margin_of_a_tie_is_zero() -> None:
    assert margin(torch.tensor([[7.0, 7.0, 1.0]]), torch.tensor([1])).tolist() == [0.0]


def test_margin_score_is_larger_for_harder_samples() -> None:
    """Probabilities 1/4 and 3/4. The negative margin is 1/2 if the prediction is wrong, -1/2 if it is right."""
    assert final("margin", QUARTERS, [0, 1]) == pytest.approx([0.5, -0.5], rel=1e-6)


def test_entropy_by_hand() -> None:
    """Uniform over four classes: ln 4. (1/4, 3/4): 1/4 ln 4 + 3/4 ln 4/3. A certain prediction: 0, not NaN."""
    assert entropy(torch.zeros(1, 4)).tolist() == pytest.approx([math.log(4)], rel=1e-12)
    assert entropy(QUARTERS[:1]).tolist() == pytest.approx([math.log(4) / 4 + 3 * math.log(4 / 3) / 4], rel=1e-6)
    assert entropy(torch.tensor([[1e4, 0.0]])).tolist() == [0.0]


def test_entropy_does_not_depend_on_the_label() -> None:
    assert final("entropy", QUARTERS, [0, 0]) == final("entropy", QUARTERS, [1, 0])


@pytest.mark.parametrize("score", ["el2n", "el2n_squared", "loss", "margin"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(logits=st.lists(st.floats(-10, 10), min_size=3, max_size=3), more=st.floats(0.1, 5))
def test_larger_logit_of_the_label_gives_a_lower_score(score: str, logits: list[float], more: float) -> None:
    better = [logits[0] + more, *logits[1:]]
    easier, harder = final(score, [better, logits], [0, 0])
    assert easier < harder


# Forgetting ----------------------------------------------------------------------------------------------------------


def forgetting_scores(known: list[list[int]]) -> list[float]:
    """Return the forgetting scores. ``known`` has a row per sample and a column per epoch; 1 means correct."""
    state = ignorance(len(known))
    for epoch in torch.tensor(known, dtype=torch.bool).T:
        state = after_epoch(state, epoch)
    return forgetting(state, len(known[0])).tolist()


def test_forgetting_by_hand() -> None:
    """Each change from correct to wrong is an event. A sample that is never learned has one event per epoch."""
    known = [[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert forgetting_scores(known) == [0, 1, 2, 0, 1, 4]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(known=st.lists(st.integers(0, 1), min_size=1, max_size=12))
def test_forgetting_counts_drops_and_ranks_never_learned_samples_highest(known: list[int]) -> None:
    drops = sum(before > after for before, after in pairwise(known))
    epochs = len(known)
    (score,) = forgetting_scores([known])
    assert score == (drops if any(known) else epochs)
    assert drops <= epochs // 2 < epochs


def test_forgetting_uses_the_predictions_of_every_epoch() -> None:
    """Label 1 is predicted right, wrong, right, wrong. Label 0 has the opposite order and one event less."""
    labels, score = [1, 0], ForgettingScore(data([1, 0]))
    for epoch in range(1, 5):
        epoch_view = view([[0.0, 1.0 if epoch % 2 else -1.0]] * 2, labels, epoch)
        score.on_epoch_end(epoch_view)
    assert score.compute(epoch_view).tolist() == [2.0, 1.0]


# Area under the margin -----------------------------------------------------------------------------------------------


def test_aum_by_hand() -> None:
    """Sample 0 has margins 2 - 1 = 1 and 0 - 3 = -3: mean -1, score 1. Sample 1 has margins 4 and 2: score -3."""
    labels, score = [0, 2], aum.AUMScore(data([0, 2]))
    score.on_epoch_end(view([[2.0, 1.0, 0.0], [1.0, 0.0, 5.0]], labels, 1))
    last = view([[0.0, 3.0, 1.0], [-1.0, 1.0, 3.0]], labels, 2)
    score.on_epoch_end(last)
    assert score.compute(last).tolist() == [1.0, -3.0]


def test_state_of_aum_forgetting_and_vog_exists_before_the_first_epoch() -> None:
    for name in ("aum", "forgetting", "vog"):
        assert SCORES[name](data([0, 1, 2])).state, name
