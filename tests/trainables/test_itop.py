"""ITOP is SET or RigL with other update steps. From the same state it gives the same masks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow
from sparsweep.trainables.sparsifiers.itop import ITOP
from sparsweep.trainables.sparsifiers.rigl import RigL
from sparsweep.trainables.sparsifiers.set import SET
from sparsweep.trainables.specs.timeline import TrainingSteps
from support.mask_updates import update_context
from support.tiny_trials import create_trainer, trial

PRUNE_SETTINGS = {"prune_rate": 0.4, "final_prune_rate": 0.1, "decay_fraction": 0.8}


@pytest.mark.parametrize(
    ("growth", "reference"),
    [("random", SET(drop="magnitude", **PRUNE_SETTINGS)), ("gradient", RigL(**PRUNE_SETTINGS))],
    ids=["set", "rigl"],
)
def test_an_update_equals_that_of_set_or_rigl(growth: str, reference: DropAndGrow) -> None:
    generator = torch.Generator().manual_seed(1)
    masks = Masks({name: torch.rand(8, 9, generator=generator) < 0.4 for name in ("a", "b")})
    weights = {name: torch.randn(8, 9, generator=generator) * mask for name, mask in masks.items()}
    gradients = {name: torch.randn(8, 9, generator=generator) for name in masks}
    for step in (0, 37):
        one, other = (
            method.update(masks, update_context(weights, step, gradients))
            for method in (ITOP(growth=growth, **PRUNE_SETTINGS), reference)
        )
        assert one.equal(other) and not one.equal(masks)


def test_random_growth_needs_no_gradients() -> None:
    """The context has no dense gradients and raises an error if a method requests them."""
    masks = Masks({"a": torch.arange(10) < 5})
    ITOP().update(masks, update_context({"a": torch.ones(10) * masks["a"]}))
    with pytest.raises(LookupError):
        ITOP(growth="gradient").update(masks, update_context({"a": torch.ones(10) * masks["a"]}))


def test_updates_continue_almost_to_the_end() -> None:
    """Updates come every 4 of 200 epochs up to 196, so four epochs train the weights that grew last."""
    assert list(ITOP().update_steps(TrainingSteps(200, 10))) == list(range(40, 1961, 40))


def test_longer_training_explores_more(digits: DeviceData) -> None:
    """The exploration rate starts at the density and rises with every update."""
    method = {"name": "itop", "update_every": 1}
    recipe = {"preset": "digits", "epochs": 8, "batch_size": 32}
    run = create_trainer(trial(sparsifier=method, sparsity=0.9, recipe=recipe), digits, samples=32)
    rates = [run.masked_params.ever_active.density()]
    for _ in range(8):
        run.train_epoch()
        rates.append(run.masked_params.ever_active.density())
    assert rates[0] == run.density == pytest.approx(0.1, abs=1e-3)
    assert rates[1] == rates[0]
    assert all(after > before for before, after in pairwise(rates[1:]))
    # Upper bound: each of seven updates grows at most half of the active weights.
    assert rates[-1] <= rates[0] * (1 + 7 * 0.5)
