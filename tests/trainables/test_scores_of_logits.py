"""Scores that look at logits alone (loss, margin, entropy) or at their course (forgetting, aum), by hand."""

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
    """What a score sees of a network, made up."""
    return SimpleNamespace(logits=torch.as_tensor(logits), labels=torch.tensor(labels), epoch=epoch)


def final(score: str, logits: Any, labels: list[int]) -> list[float]:
    found = SCORES[score](data(labels)).compute(view(logits, labels))
    assert found.dtype == torch.float64
    return found.tolist()


# At the end ----------------------------------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    """-ln 1/4 if the label is 0, -ln 3/4 if it is 1."""
    assert loss(QUARTERS, torch.tensor([0, 1])).tolist() == pytest.approx([math.log(4), math.log(4 / 3)], rel=1e-6)


def test_loss_of_certainty_is_finite_and_exact() -> None:
    """A difference of 1000 in logits is a loss of 1000 (the softmax would be 0)."""
    assert loss(torch.tensor([[1000.0, 0.0]] * 2), torch.tensor([0, 1])).tolist() == [0.0, 1000.0]


def test_margin_by_hand() -> None:
    """Largest other: 5 for label 0, 5 for label 2, 2 for label 1."""
    values = torch.tensor([[2.0, 5.0, -1.0]] * 3)
    assert margin(values, torch.tensor([0, 2, 1])).tolist() == [-3.0, -6.0, 3.0]


def test_margin_of_a_tie_is_nothing() -> None:
    assert margin(torch.tensor([[7.0, 7.0, 1.0]]), torch.tensor([1])).tolist() == [0.0]


def test_margin_score_is_larger_where_it_is_harder() -> None:
    """Probabilities 1/4 and 3/4: minus the margin is 1/2 if wrong, -1/2 if right."""
    assert final("margin", QUARTERS, [0, 1]) == pytest.approx([0.5, -0.5], rel=1e-6)


def test_entropy_by_hand() -> None:
    """An even guess of four has ln 4; (1/4, 3/4) has 1/4 ln 4 + 3/4 ln 4/3; certainty has none, not NaN."""
    assert entropy(torch.zeros(1, 4)).tolist() == pytest.approx([math.log(4)], rel=1e-12)
    assert entropy(QUARTERS[:1]).tolist() == pytest.approx([math.log(4) / 4 + 3 * math.log(4 / 3) / 4], rel=1e-6)
    assert entropy(torch.tensor([[1e4, 0.0]])).tolist() == [0.0]


def test_entropy_is_blind_to_the_label() -> None:
    assert final("entropy", QUARTERS, [0, 0]) == final("entropy", QUARTERS, [1, 0])


@pytest.mark.parametrize("score", ["el2n", "el2n_squared", "loss", "margin"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(logits=st.lists(st.floats(-10, 10), min_size=3, max_size=3), more=st.floats(0.1, 5))
def test_a_larger_logit_of_the_label_is_easier(score: str, logits: list[float], more: float) -> None:
    better = [logits[0] + more, *logits[1:]]
    easier, harder = final(score, [better, logits], [0, 0])
    assert easier < harder


# Forgetting ----------------------------------------------------------------------------------------------------------


def follow(known: list[list[int]]) -> list[float]:
    """Forgetting of samples (rows) that are known after epochs (columns)."""
    state = ignorance(len(known))
    for epoch in torch.tensor(known, dtype=torch.bool).T:
        state = after_epoch(state, epoch)
    return forgetting(state, len(known[0])).tolist()


def test_forgetting_by_hand() -> None:
    """A transition from known to unknown is an event; what was never learned counts every epoch."""
    known = [[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert follow(known) == [0, 1, 2, 0, 1, 4]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(known=st.lists(st.integers(0, 1), min_size=1, max_size=12))
def test_forgetting_is_the_number_of_drops_and_never_learned_is_above_all(known: list[int]) -> None:
    drops = sum(before > after for before, after in pairwise(known))
    epochs = len(known)
    (found,) = follow([known])
    assert found == (drops if any(known) else epochs)
    assert drops <= epochs // 2 < epochs


def test_forgetting_sees_the_predictions_of_every_epoch() -> None:
    """Label 1 of two: right, wrong, right, wrong; label 0: the other way round, and so with one event less."""
    labels, score = [1, 0], ForgettingScore(data([1, 0]))
    for epoch in range(1, 5):
        seen = view([[0.0, 1.0 if epoch % 2 else -1.0]] * 2, labels, epoch)
        score.on_epoch_end(seen)
    assert score.compute(seen).tolist() == [2.0, 1.0]


# Area under the margin -----------------------------------------------------------------------------------------------


def test_aum_by_hand() -> None:
    """Margins of sample 0: 2 - 1 = 1, then 0 - 3 = -3: mean -1, score 1. Of sample 1: 4 and 2: score -3."""
    labels, score = [0, 2], aum.AUMScore(data([0, 2]))
    score.on_epoch_end(view([[2.0, 1.0, 0.0], [1.0, 0.0, 5.0]], labels, 1))
    last = view([[0.0, 3.0, 1.0], [-1.0, 1.0, 3.0]], labels, 2)
    score.on_epoch_end(last)
    assert score.compute(last).tolist() == [1.0, -3.0]


def test_aum_and_forgetting_have_all_their_state_before_the_first_epoch() -> None:
    for name in ("aum", "forgetting", "vog"):
        assert SCORES[name](data([0, 1, 2])).state, name
