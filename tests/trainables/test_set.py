"""One rewiring by hand, and when SET rewires."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import InitContext, Masks, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.set import SET
from sparsweep.trainables.specs.profiles import PROFILES
from sparsweep.trainables.specs.timeline import TrainingSteps, cosine
from support.mask_updates import bits, placed, update_context, update_now
from support.tiny_trials import begin, four_pixels, nothing, trial

WEIGHTS = torch.tensor([0.5, -0.4, 0.3, -0.2, 0.1, -0.6, 0.0, 0.0, 0.0, 0.0])
MASK = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]).bool()
# The places that are there, the two that are dropped among them, have the highest chance: they may not grow back.
CHANCE = torch.tensor([0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.1, 0.9, 0.5, 0.7])


def rewired(weights: torch.Tensor, there: torch.Tensor, rate: float, chance: torch.Tensor, **fields: Any) -> list[int]:
    """One layer's mask after an update at the beginning of training, where the share is ``rate``."""
    method = placed(SET(prune_rate=rate, **fields), {"layer": chance})
    return bits(method.update(Masks({"layer": there}), update_context({"layer": weights})))["layer"]


def test_a_third_of_each_sign_goes_and_as_many_grow_elsewhere() -> None:
    """Of .5 .3 .1 goes .1; of -.4 -.2 -.6 goes -.2; the two empty places with the highest chance grow: 7 and 9."""
    assert rewired(WEIGHTS, MASK, 1 / 3, CHANCE) == [1, 1, 1, 0, 0, 1, 0, 1, 0, 1]


def test_two_thirds_of_each_sign() -> None:
    """.1 and .3, -.2 and -.4 go; all four empty places grow."""
    assert rewired(WEIGHTS, MASK, 2 / 3, CHANCE) == [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_signs_are_ranked_apart() -> None:
    """All negative weights are smaller than all positive ones; still one of each sign goes."""
    weights = torch.tensor([1.0, 2.0, 3.0, -0.1, -0.2, -0.3, 0.0, 0.0])
    mask = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0]).bool()
    assert rewired(weights, mask, 1 / 3, torch.linspace(0.1, 0.8, 8)) == [0, 1, 1, 0, 1, 1, 1, 1]


def test_no_more_goes_than_the_empty_places_can_take() -> None:
    """Two of each sign should go, but there are two empty places: one of each sign goes, both places grow."""
    weights, mask, chance = WEIGHTS[:8], MASK[:8], CHANCE[:8]
    assert rewired(weights, mask, 2 / 3, chance) == [1, 1, 1, 0, 0, 1, 1, 1]


def test_a_dense_layer_stays() -> None:
    assert rewired(WEIGHTS, torch.ones(10).bool(), 0.5, CHANCE) == [1] * 10


def test_an_empty_layer_stays() -> None:
    assert rewired(WEIGHTS, torch.zeros(10).bool(), 0.5, CHANCE) == [0] * 10


def test_a_share_that_rounds_to_none_changes_nothing() -> None:
    """.1 of three weights is .3 of a weight, rounded to none."""
    assert rewired(WEIGHTS, MASK, 0.1, CHANCE) == MASK.int().tolist()


def test_ties_go_in_order() -> None:
    """Four equal weights, half of them go: the first two."""
    weights, mask = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0]), torch.tensor([1, 1, 1, 1, 0, 0, 0]).bool()
    assert rewired(weights, mask, 0.5, torch.tensor([0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3])) == [0, 0, 1, 1, 1, 1, 0]


def test_a_grown_weight_that_never_moved_is_a_small_negative_one() -> None:
    """A zero weight that is there goes before every other of its side."""
    weights, mask = torch.tensor([0.0, -0.1, 0.0, 0.0]), torch.tensor([1, 1, 0, 0]).bool()
    assert rewired(weights, mask, 0.5, torch.tensor([0.9, 0.9, 0.1, 0.2])) == [0, 1, 0, 1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 60),
    density=st.floats(0, 1),
    rate=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31),
    dull=st.booleans(),
)
def test_count_stays_and_nothing_dropped_grows_back(
    size: int, density: float, rate: float, seed: int, dull: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, generator=generator) < density
    weights = torch.randn(size, generator=generator) * mask
    weights = weights.sign() if dull else weights
    chance = torch.rand(size, generator=generator)
    after = torch.tensor(rewired(weights, mask, rate, chance)).bool()
    assert int(after.sum()) == int(mask.sum())
    dropped, grown = mask & ~after, after & ~mask
    for sign in (weights > 0, weights <= 0):
        side = mask & sign
        wanted = round(rate * int(side.sum()))
        assert int((dropped & side).sum()) <= wanted + 1
        stayed = (side & after).nonzero()
        if (dropped & side).any() and len(stayed):
            assert weights[dropped & side].abs().max() <= weights[side & after].abs().min()
    empty = ~mask & ~after
    if grown.any() and empty.any():
        assert chance[grown].min() >= chance[empty].max()


def test_without_regard_to_sign_the_smallest_of_the_layer_go() -> None:
    """A third of six: .1 and -.2; with signs apart it would be .1 and -.2 too, so half of six: .1, -.2 and .3."""
    assert rewired(WEIGHTS, MASK, 1 / 2, CHANCE, drop="magnitude") == [1, 1, 0, 0, 0, 1, 0, 1, 1, 1]


def test_of_unequal_signs_magnitude_takes_from_one_only() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, -0.1, -0.2, -0.3, 0.0, 0.0])
    mask = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0]).bool()
    assert rewired(weights, mask, 1 / 3, torch.linspace(0.1, 0.8, 8), drop="magnitude") == [1, 1, 1, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("rate", "after"),
    [
        # Five positive, four negative, one zero. A fifth: 1 + 1 of the positive, .8 rounded up of the negative, zero.
        (0.2, [0, 0, 1, 1, 1, 0, 1, 1, 1, 0]),
        # A tenth: .5 rounded down and one more, .4 rounded up, and the zero.
        (0.1, [0, 1, 1, 1, 1, 0, 1, 1, 1, 0]),
        # A half: 2.5 rounded down and one more, 2, and the zero.
        (0.5, [0, 0, 0, 1, 1, 0, 0, 1, 1, 0]),
    ],
)
def test_strict_thresholds_remove_more(rate: float, after: list[int]) -> None:
    """Defect D21. With the values sorted, what lies beyond values[n - 5 + int(5 rate)] and below
    values[int((1 - rate) 4)] stays: the weights of the authors' rule are worked out here by that very rule."""
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, -0.1, -0.2, -0.3, -0.4, 0.0] + [0.0] * 10)
    mask = torch.tensor([1] * 10 + [0] * 10).bool()
    values, n = weights.sort().values, len(weights)
    kept = (weights > values[int(n - 5 + rate * 5)]) | (weights < values[int((1 - rate) * 4)])
    assert kept.int().tolist()[:10] == after
    found = rewired(weights, mask, rate, torch.linspace(0.1, 0.9, 20), drop="sign_threshold")
    assert found[:10] == after
    assert sum(found) == 10


def test_what_is_dropped_can_grow_back_where_that_is_asked_for() -> None:
    """Defect D8: -.2 and .1 go; places 3, 4, 6, 7, 8, 9 are open, and 3 and 4 have the highest chance."""
    assert rewired(WEIGHTS, MASK, 1 / 3, CHANCE, regrow_dropped=True) == MASK.int().tolist()
    low = CHANCE.clone()
    low[3] = 0.01
    assert rewired(WEIGHTS, MASK, 1 / 3, low, regrow_dropped=True) == [1, 1, 1, 0, 1, 1, 0, 1, 0, 0]


def test_with_regrowth_a_dense_layer_drops_its_share_and_takes_it_back() -> None:
    assert rewired(WEIGHTS, torch.ones(10).bool(), 0.5, CHANCE, regrow_dropped=True) == [1] * 10


@pytest.mark.parametrize("regrow", [False, True])
def test_a_weight_that_grows_back_keeps_its_value(regrow: bool, digits: DeviceData) -> None:
    """In a training: what was there before and after is as it was, also if it was dropped in between."""
    method = {"name": "set", "update_every": 1, "prune_rate": 0.9, "stop_fraction": 1, "regrow_dropped": regrow}
    run = begin(trial(sparsifier=method, sparsity=0.5, recipe={"preset": "digits", "epochs": 3}), digits, samples=32)
    run.train_epoch()
    masks = run.masks
    before = update_now(run, len(run.batches))
    assert isinstance(run.spec.sparsifier, SET)
    removed = run.spec.sparsifier.drop_masks(masks, before)
    assert any((removed[name] & run.masks[name]).any() for name in masks) == regrow
    for name, weight in run.weights.items():
        both = masks[name] & run.masks[name]
        assert torch.equal(weight.detach()[both], before.weights[name][both])
        assert not weight.detach()[~both].any()


def test_updates_of_the_paper_stop_before_the_end() -> None:
    """200 epochs of 10 steps, every 4 epochs: 40, 80, ... up to three quarters of training."""
    steps = list(SET().update_steps(TrainingSteps(200, 10)))
    assert steps == list(range(40, 1500, 40))


def test_updates_to_the_end_include_one_after_the_last_step() -> None:
    """Defect D9: 50 events of 200 epochs, the last when all is trained."""
    steps = list(SET(stop_fraction=1).update_steps(TrainingSteps(200, 10)))
    assert steps == list(range(40, 2001, 40)) and len(steps) == 50


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100, 500, 1000])
@pytest.mark.parametrize("steps_per_epoch", [1, 3, 49])
def test_a_stop_before_the_end_never_lets_an_update_follow_the_last_step(epochs: int, steps_per_epoch: int) -> None:
    """Profile ``paper``: every update that the interval allows, but that after the last step (D9), in any length."""
    method, timeline = (
        SET(update_every=1, **PROFILES["paper"]["sparsifier"]["set"]),
        TrainingSteps(epochs, steps_per_epoch),
    )
    assert list(method.update_steps(timeline)) == [epoch * steps_per_epoch for epoch in range(1, epochs)]


def test_an_update_at_the_stop_itself_is_the_last() -> None:
    assert list(SET(update_every=1, stop_fraction=0.5).update_steps(TrainingSteps(4, 10))) == [10, 20]


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 118, 391])
def test_little_data_sees_as_many_updates(steps_per_epoch: int) -> None:
    assert len(list(SET().update_steps(TrainingSteps(200, steps_per_epoch)))) == 37


def test_no_update_where_training_is_shorter_than_the_interval() -> None:
    assert list(SET().update_steps(TrainingSteps(4, 10))) == []


def test_rate_falls_along_the_cosine_and_each_update_draws_anew() -> None:
    """At a quarter of training the share is that of the half cosine there."""
    method = SET(prune_rate=0.5, final_prune_rate=0.1)
    spec = trial(sparsifier=method, sparsity=0.5)
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(2000, generator=generator).abs() + 0.1}
    masks = Masks({"a": torch.arange(2000) < 1000})
    for step in (0, 25, 50, 75):
        after = method.update(
            masks, UpdateContext(spec, step, TrainingSteps(10, 10), weights, torch.Generator().manual_seed(step))
        )
        dropped = int((masks["a"] & ~after["a"]).sum())
        assert dropped == round(1000 * cosine(step / 100, 0.5, 0.1))
    drawn = [
        method.update(
            masks, UpdateContext(spec, 0, TrainingSteps(10, 10), weights, torch.Generator().manual_seed(seed))
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0].equal(drawn[1]) and not drawn[0].equal(drawn[2])


def test_set_starts_from_the_mask_of_random_pruning() -> None:
    """Both are ERK, drawn from the same generator: what SET gains over ``random`` is its rewiring alone."""
    spec = trial(sparsifier="set", sparsity=0.9)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("random masks look at no data")

    def start() -> InitContext:
        model = build_model(spec, four_pixels())
        return InitContext(spec, model, torch.Generator().manual_seed(3), batch, nothing)

    assert spec.sparsifier.initialize(start()).equal(sparsifiers["random"]().initialize(start()))
