"""MEST: importance of weights with gradients, and the step decay of the drop rate."""

from __future__ import annotations

import pytest
import torch

from sparsweep.trainables.sparsifiers import Masks, UpdateContext
from sparsweep.trainables.sparsifiers.mest import MEST
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.mask_updates import bits, mask, update_context, with_growth_scores

WEIGHTS = {"a": torch.tensor([0.1, -0.2, 0.3, -0.4, 0.0, 0.0])}
GRADIENTS = {"a": torch.tensor([-0.5, 0.1, 0.0, 0.0, 7.0, 7.0])}
ACTIVE = Masks({"a": mask(1, 1, 1, 1, 0, 0)})


@pytest.mark.parametrize(
    ("weight", "after"),
    [
        # |w|: 0.1 0.2 0.3 0.4. The first two weights are dropped.
        (0.0, [0, 0, 1, 1, 1, 1]),
        # |w| + 0.5 |g|: 0.35 0.25 0.3 0.4. The second and third weights are dropped.
        (0.5, [1, 0, 0, 1, 1, 1]),
        # |w| + 2 |g|: 1.1 0.4 0.3 0.4. The third weight is dropped, and the earlier one of the two equal weights.
        (2.0, [1, 0, 0, 1, 1, 1]),
    ],
)
def test_importance_by_hand(weight: float, after: list[int]) -> None:
    method = with_growth_scores(MEST(prune_rate=0.5, gradient_weight=weight), {"a": torch.rand(6)})
    assert bits(method.update(ACTIVE, update_context(WEIGHTS, gradients=GRADIENTS))) == {"a": after}


def test_importance_is_magnitude_at_gradient_weight_zero() -> None:
    """The authors' lambda is 0. MEST then computes no gradients. The context in this test provides none."""
    method = with_growth_scores(MEST(prune_rate=0.5), {"a": torch.rand(6)})
    assert bits(method.update(ACTIVE, update_context(WEIGHTS))) == {"a": [0, 0, 1, 1, 1, 1]}


def test_growth_is_random() -> None:
    """Over 60 seeds, each of the eight masked positions grows at least once, whatever its gradient."""
    masks = Masks({"a": torch.arange(10) < 2})
    weights, gradients = {"a": torch.ones(10) * masks["a"]}, {"a": torch.arange(10.0)}
    grown = set()
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        after = MEST(prune_rate=0.5).update(masks, update_context(weights, gradients=gradients, generator=generator))
        grown |= set((after["a"] & ~masks["a"]).nonzero().flatten().tolist())
    assert grown == set(range(2, 10))


def test_drop_rate_follows_the_authors_steps() -> None:
    """160 epochs, one update per 5 epochs: rate 0.2 before epoch 90, 0.1 before epoch 120, then 0."""
    timeline = TrainingSteps(160, 10)
    steps = list(MEST().update_steps(timeline))
    assert steps == list(range(50, 1201, 50))
    rates = {
        step // 10: MEST().rate(UpdateContext(update_context({}).spec, step, timeline, {}, torch.Generator()))
        for step in steps
    }
    assert {epoch for epoch, rate in rates.items() if rate == 0.2} == set(range(5, 90, 5))
    assert {epoch for epoch, rate in rates.items() if rate == 0.1} == set(range(90, 120, 5))
    assert rates[120] == 0
