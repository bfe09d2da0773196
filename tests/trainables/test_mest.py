"""MEST: what a large gradient spares, and the steps of its share."""

from __future__ import annotations

import pytest
import torch

from sparsweep.trainables.sparsifiers import Masks, UpdateContext
from sparsweep.trainables.sparsifiers.mest import MEST
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.mask_updates import bits, mask, placed, update_context

WEIGHTS = {"a": torch.tensor([0.1, -0.2, 0.3, -0.4, 0.0, 0.0])}
GRADIENTS = {"a": torch.tensor([-0.5, 0.1, 0.0, 0.0, 7.0, 7.0])}
THERE = Masks({"a": mask(1, 1, 1, 1, 0, 0)})


@pytest.mark.parametrize(
    ("weight", "after"),
    [
        # |w|: .1 .2 .3 .4, the first two go.
        (0.0, [0, 0, 1, 1, 1, 1]),
        # |w| + .5 |g|: .35 .25 .3 .4, the second and the third go.
        (0.5, [1, 0, 0, 1, 1, 1]),
        # |w| + 2 |g|: 1.1 .4 .3 .4, the third goes, and of the equal ones the earlier.
        (2.0, [1, 0, 0, 1, 1, 1]),
    ],
)
def test_importance_by_hand(weight: float, after: list[int]) -> None:
    method = placed(MEST(prune_rate=0.5, gradient_weight=weight), {"a": torch.rand(6)})
    assert bits(method.update(THERE, update_context(WEIGHTS, gradients=GRADIENTS))) == {"a": after}


def test_importance_is_magnitude_unless_a_gradient_is_asked_for() -> None:
    """The authors' lambda is 0, and then no pass is spent on gradients: the moment here has none to give."""
    method = placed(MEST(prune_rate=0.5), {"a": torch.rand(6)})
    assert bits(method.update(THERE, update_context(WEIGHTS))) == {"a": [0, 0, 1, 1, 1, 1]}


def test_growth_is_random() -> None:
    """Of eight empty places with gradients from small to large each is drawn."""
    masks = Masks({"a": torch.arange(10) < 2})
    weights, gradients = {"a": torch.ones(10) * masks["a"]}, {"a": torch.arange(10.0)}
    grown = set()
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        after = MEST(prune_rate=0.5).update(masks, update_context(weights, gradients=gradients, generator=generator))
        grown |= set((after["a"] & ~masks["a"]).nonzero().flatten().tolist())
    assert grown == set(range(2, 10))


def test_share_falls_in_the_authors_steps() -> None:
    """160 epochs: a fifth to epoch 90, a tenth to 120, none from there; an update every five epochs."""
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
