"""SET: mask updates by hand, and the steps of the updates."""

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
from support.mask_updates import bits, update_context, update_now, with_growth_scores
from support.tiny_trials import create_trainer, four_pixels, raise_no_prerequisite, trial

WEIGHTS = torch.tensor([0.5, -0.4, 0.3, -0.2, 0.1, -0.6, 0.0, 0.0, 0.0, 0.0])
MASK = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]).bool()
# Active positions, including the two dropped ones, have the largest growth scores. They must not grow back.
GROWTH_SCORES = torch.tensor([0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.1, 0.9, 0.5, 0.7])


def update_mask(
    weights: torch.Tensor, mask: torch.Tensor, rate: float, chance: torch.Tensor, **fields: Any
) -> list[int]:
    """Return the mask of one layer after an update at step 0, where the drop rate is ``rate``."""
    method = with_growth_scores(SET(prune_rate=rate, **fields), {"layer": chance})
    return bits(method.update(Masks({"layer": mask}), update_context({"layer": weights})))["layer"]


def test_a_third_of_each_sign_is_dropped_and_as_many_grow_elsewhere() -> None:
    """0.1 of 0.5 0.3 0.1 and -0.2 of -0.4 -0.2 -0.6 are dropped. The largest growth scores are at 7 and 9."""
    assert update_mask(WEIGHTS, MASK, 1 / 3, GROWTH_SCORES) == [1, 1, 1, 0, 0, 1, 0, 1, 0, 1]


def test_two_thirds_of_each_sign_are_dropped() -> None:
    """0.1 and 0.3, -0.2 and -0.4 are dropped. All four masked positions grow."""
    assert update_mask(WEIGHTS, MASK, 2 / 3, GROWTH_SCORES) == [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_signs_are_ranked_separately() -> None:
    """All negative weights are smaller than all positive ones. One of each sign is dropped."""
    weights = torch.tensor([1.0, 2.0, 3.0, -0.1, -0.2, -0.3, 0.0, 0.0])
    mask = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0]).bool()
    assert update_mask(weights, mask, 1 / 3, torch.linspace(0.1, 0.8, 8)) == [0, 1, 1, 0, 1, 1, 1, 1]


def test_drop_is_limited_by_the_number_of_masked_positions() -> None:
    """The rate drops two of each sign, but only two positions are masked. One of each sign is dropped, both grow."""
    weights, mask, chance = WEIGHTS[:8], MASK[:8], GROWTH_SCORES[:8]
    assert update_mask(weights, mask, 2 / 3, chance) == [1, 1, 1, 0, 0, 1, 1, 1]


def test_dense_layer_does_not_change() -> None:
    assert update_mask(WEIGHTS, torch.ones(10).bool(), 0.5, GROWTH_SCORES) == [1] * 10


def test_empty_layer_does_not_change() -> None:
    assert update_mask(WEIGHTS, torch.zeros(10).bool(), 0.5, GROWTH_SCORES) == [0] * 10


def test_share_that_rounds_to_zero_changes_nothing() -> None:
    """0.1 of three weights is 0.3, rounded to 0."""
    assert update_mask(WEIGHTS, MASK, 0.1, GROWTH_SCORES) == MASK.int().tolist()


def test_earlier_of_equal_weights_are_dropped() -> None:
    """Half of four equal weights are dropped: the first two."""
    weights, mask = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0]), torch.tensor([1, 1, 1, 1, 0, 0, 0]).bool()
    assert update_mask(weights, mask, 0.5, torch.tensor([0.0, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3])) == [0, 0, 1, 1, 1, 1, 0]


def test_active_zero_weight_counts_as_the_smallest_negative_weight() -> None:
    """A grown weight that never changed is zero. It is dropped before every negative weight."""
    weights, mask = torch.tensor([0.0, -0.1, 0.0, 0.0]), torch.tensor([1, 1, 0, 0]).bool()
    assert update_mask(weights, mask, 0.5, torch.tensor([0.9, 0.9, 0.1, 0.2])) == [0, 1, 0, 1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 60),
    density=st.floats(0, 1),
    rate=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31),
    equal_magnitudes=st.booleans(),
)
def test_count_is_constant_and_smallest_weights_are_dropped(
    size: int, density: float, rate: float, seed: int, equal_magnitudes: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, generator=generator) < density
    weights = torch.randn(size, generator=generator) * mask
    weights = weights.sign() if equal_magnitudes else weights
    chance = torch.rand(size, generator=generator)
    after = torch.tensor(update_mask(weights, mask, rate, chance)).bool()
    assert int(after.sum()) == int(mask.sum())
    dropped, grown = mask & ~after, after & ~mask
    for sign in (weights > 0, weights <= 0):
        side = mask & sign
        target = round(rate * int(side.sum()))
        assert int((dropped & side).sum()) <= target + 1
        stayed = (side & after).nonzero()
        if (dropped & side).any() and len(stayed):
            assert weights[dropped & side].abs().max() <= weights[side & after].abs().min()
    empty = ~mask & ~after
    if grown.any() and empty.any():
        assert chance[grown].min() >= chance[empty].max()


def test_drop_magnitude_drops_the_smallest_of_the_layer() -> None:
    """Half of six is dropped: 0.1, -0.2 and 0.3. A third would give 0.1 and -0.2 with ``drop: sign`` as well."""
    assert update_mask(WEIGHTS, MASK, 1 / 2, GROWTH_SCORES, drop="magnitude") == [1, 1, 0, 0, 0, 1, 0, 1, 1, 1]


def test_drop_magnitude_may_drop_weights_of_one_sign_only() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, -0.1, -0.2, -0.3, 0.0, 0.0])
    mask = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0]).bool()
    assert update_mask(weights, mask, 1 / 3, torch.linspace(0.1, 0.8, 8), drop="magnitude") == [1, 1, 1, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("rate", "after"),
    [
        # Five positive, four negative, one zero. Rate 0.2: 1 + 1 positive, 0.8 rounded up negative, and the zero.
        (0.2, [0, 0, 1, 1, 1, 0, 1, 1, 1, 0]),
        # Rate 0.1: 0.5 rounded down plus 1 positive, 0.4 rounded up negative, and the zero.
        (0.1, [0, 1, 1, 1, 1, 0, 1, 1, 1, 0]),
        # Rate 0.5: 2.5 rounded down plus 1 positive, 2 negative, and the zero.
        (0.5, [0, 0, 0, 1, 1, 0, 0, 1, 1, 0]),
    ],
)
def test_strict_thresholds_remove_more(rate: float, after: list[int]) -> None:
    """Defect D21. The test applies the authors' rule to the sorted values.

    Weights above values[n - 5 + int(5 rate)] and below values[int((1 - rate) 4)] stay.
    """
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, -0.1, -0.2, -0.3, -0.4, 0.0] + [0.0] * 10)
    mask = torch.tensor([1] * 10 + [0] * 10).bool()
    values, n = weights.sort().values, len(weights)
    kept = (weights > values[int(n - 5 + rate * 5)]) | (weights < values[int((1 - rate) * 4)])
    assert kept.int().tolist()[:10] == after
    updated = update_mask(weights, mask, rate, torch.linspace(0.1, 0.9, 20), drop="sign_threshold")
    assert updated[:10] == after
    assert sum(updated) == 10


def test_dropped_weights_can_grow_back_with_regrow_dropped() -> None:
    """Defect D8. -0.2 and 0.1 are dropped. Of positions 3, 4, 6, 7, 8, 9, the growth scores of 3 and 4 are largest."""
    assert update_mask(WEIGHTS, MASK, 1 / 3, GROWTH_SCORES, regrow_dropped=True) == MASK.int().tolist()
    low = GROWTH_SCORES.clone()
    low[3] = 0.01
    assert update_mask(WEIGHTS, MASK, 1 / 3, low, regrow_dropped=True) == [1, 1, 1, 0, 1, 1, 0, 1, 0, 0]


def test_dense_layer_regrows_its_dropped_weights_with_regrow_dropped() -> None:
    assert update_mask(WEIGHTS, torch.ones(10).bool(), 0.5, GROWTH_SCORES, regrow_dropped=True) == [1] * 10


@pytest.mark.parametrize("regrow", [False, True])
def test_weight_that_grows_back_keeps_its_value(regrow: bool, digits: DeviceData) -> None:
    """Weights that are active before and after the update keep their values, also if they were dropped and regrown."""
    method = {"name": "set", "update_every": 1, "prune_rate": 0.9, "stop_fraction": 1, "regrow_dropped": regrow}
    run = create_trainer(
        trial(sparsifier=method, sparsity=0.5, recipe={"preset": "digits", "epochs": 3}), digits, samples=32
    )
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


def test_updates_stop_before_the_end_as_in_the_paper() -> None:
    """200 epochs of 10 steps, one update per 4 epochs: steps 40, 80, ... up to three quarters of training."""
    steps = list(SET().update_steps(TrainingSteps(200, 10)))
    assert steps == list(range(40, 1500, 40))


def test_stop_fraction_1_includes_an_update_after_the_last_step() -> None:
    """Defect D9: 50 updates in 200 epochs. The last one follows the last training step."""
    steps = list(SET(stop_fraction=1).update_steps(TrainingSteps(200, 10)))
    assert steps == list(range(40, 2001, 40)) and len(steps) == 50


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100, 500, 1000])
@pytest.mark.parametrize("steps_per_epoch", [1, 3, 49])
def test_no_update_follows_the_last_step_if_stop_fraction_is_below_1(epochs: int, steps_per_epoch: int) -> None:
    """Profile ``paper``: all updates of the interval except the one after the last step (D9), at any length."""
    method, timeline = (
        SET(update_every=1, **PROFILES["paper"]["sparsifier"]["set"]),
        TrainingSteps(epochs, steps_per_epoch),
    )
    assert list(method.update_steps(timeline)) == [epoch * steps_per_epoch for epoch in range(1, epochs)]


def test_last_update_may_be_exactly_at_the_stop() -> None:
    assert list(SET(update_every=1, stop_fraction=0.5).update_steps(TrainingSteps(4, 10))) == [10, 20]


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 118, 391])
def test_number_of_updates_does_not_depend_on_the_amount_of_data(steps_per_epoch: int) -> None:
    assert len(list(SET().update_steps(TrainingSteps(200, steps_per_epoch)))) == 37


def test_no_update_if_training_is_shorter_than_the_interval() -> None:
    assert list(SET().update_steps(TrainingSteps(4, 10))) == []


def test_rate_follows_the_cosine_and_growth_depends_on_the_generator() -> None:
    """Updates at 0, 1/4, 1/2 and 3/4 of training drop the shares of the half cosine."""
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


def test_initial_mask_equals_that_of_random_pruning() -> None:
    """Both methods draw ERK masks from the same generator. Only the updates distinguish SET from ``random``."""
    spec = trial(sparsifier="set", sparsity=0.9)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("random masks need no data")

    def start() -> InitContext:
        model = build_model(spec, four_pixels())
        return InitContext(spec, model, torch.Generator().manual_seed(3), batch, raise_no_prerequisite)

    assert spec.sparsifier.initialize(start()).equal(sparsifiers["random"]().initialize(start()))
