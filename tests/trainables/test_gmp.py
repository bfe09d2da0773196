"""Gradual pruning: its events, its cubic, and that nothing comes back."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks, UpdateContext
from sparsweep.trainables.sparsifiers.gmp import GMP
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.distributions import DISTRIBUTIONS
from sparsweep.trainables.specs.timeline import RAMPS, SparsitySchedule, TrainingSteps
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import begin, trial

PAPER = TrainingSteps(200, 10)


def test_events_of_the_paper() -> None:
    """From a tenth to eight tenths of 200 epochs, every 4 epochs: 20, 24, ..., 156, and the end, 160."""
    assert sorted(GMP().update_steps(PAPER)) == [10 * epoch for epoch in range(20, 161, 4)]


def test_the_last_event_is_the_end_of_the_interval_where_it_is_not_a_multiple() -> None:
    method = GMP(update_every=3, start_fraction=0, stop_fraction=0.8)
    assert sorted(method.update_steps(TrainingSteps(10, 1))) == [0, 3, 6, 8]


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 0.0),
        (199, 0.0),
        (200, 0.0),
        (240, 1 - (34 / 35) ** 3),
        (279, 1 - (34 / 35) ** 3),
        (900, 1 - (1 / 2 + 1 / 70) ** 3),  # the last event at or before half of the interval is that of epoch 88
        (1599, 1 - (1 / 35) ** 3),
        (1600, 1.0),
        (1999, 1.0),
    ],
)
def test_sparsity_follows_the_cubic_from_event_to_event(step: int, share: float) -> None:
    spec = trial(sparsifier="gmp", sparsity=0.9)
    assert GMP().sparsity_at(step, spec, PAPER) == pytest.approx(0.9 * share, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("sparsity", [0.1, 0.3, 0.7, 0.9, 0.99])
def test_the_last_event_is_at_exactly_the_asked_sparsity(sparsity: float) -> None:
    spec = trial(sparsifier="gmp", sparsity=sparsity)
    assert GMP().sparsity_at(1600, spec, PAPER) == sparsity


def test_smallest_of_the_network_go_by_hand() -> None:
    """Half of eight weights at the last event, the smallest of both layers together; what is gone stays gone."""
    spec = trial(sparsifier=GMP(start_fraction=0.0, stop_fraction=0.5), sparsity=0.5)
    weights = {"a": torch.tensor([0.5, -0.9, 0.0, 0.1]), "b": torch.tensor([-0.2, 0.3, 0.0, 0.7])}
    masks = Masks({"a": torch.tensor([1, 1, 0, 1]).bool(), "b": torch.tensor([1, 1, 1, 1]).bool()})
    context = UpdateContext(spec, 5, TrainingSteps(10, 1), weights, torch.Generator())
    after = spec.sparsifier.update(masks, context)
    assert {name: mask.int().tolist() for name, mask in after.items()} == {"a": [1, 1, 0, 0], "b": [0, 1, 0, 1]}


def test_a_zero_weight_that_is_there_goes_after_all_that_are_gone() -> None:
    """Three of four are kept, and all but one of those there are zero: the masked one must not be taken for them."""
    spec = trial(sparsifier=GMP(start_fraction=0.0, stop_fraction=0.5), sparsity=0.25)
    masks = Masks({"a": torch.tensor([0, 1, 1, 1]).bool()})
    context = UpdateContext(spec, 5, TrainingSteps(10, 1), {"a": torch.tensor([0.0, 0.0, 0.0, 0.4])}, torch.Generator())
    assert spec.sparsifier.update(masks, context)["a"].tolist() == [False, True, True, True]


class Watched(Trainer):
    """Keeps the masks of every step."""

    seen: list[Masks]

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        self.seen = [*getattr(self, "seen", []), self.masks]
        return super().train_step(images, labels, noise, step)


def test_density_of_a_training_follows_the_cubic_and_nothing_revives(digits: DeviceData) -> None:
    """Ten epochs of one step; an event each from step 2 to step 8."""
    method = GMP(update_every=1, start_fraction=0.2, stop_fraction=0.8)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = Watched(spec, digits, torch.arange(32), lambda _: {})
    for _ in range(10):
        run.train_epoch()
    size = run.masks.size
    shares = [0, 0, *(1 - (1 - event / 6) ** 3 for event in range(7)), 1]
    assert [sum(masks.counts().values()) for masks in run.seen] == [num_active(size, 0.9 * share) for share in shares]
    for before, after in zip(run.seen, run.seen[1:], strict=False):
        assert not any((after[name] & ~before[name]).any() for name in after)
    assert [epoch.density for epoch in run.history][-1] == num_active(size, 0.9) / size


def test_events_of_the_authors() -> None:
    """At init 20, final 160 and frequency 4 their code prunes after epochs 20, 24, ..., 156; progress 0, 1/35, ..."""
    method = GMP(events="multiples")
    assert sorted(method.update_steps(PAPER)) == [10 * epoch for epoch in range(20, 157, 4)]
    spec = trial(sparsifier=method, sparsity=0.9)
    for number, epoch in enumerate(range(20, 157, 4)):
        expected = 0.9 * (1 - (1 - number / 35) ** 3)
        assert method.sparsity_at(10 * epoch, spec, PAPER) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert method.sparsity_at(1999, spec, PAPER) == pytest.approx(0.9 * (1 - (1 / 35) ** 3), rel=1e-12)
    assert round(method.sparsity_at(1999, spec, PAPER), 6) == 0.899979  # as measured in their code


def test_events_of_the_authors_are_multiples_of_the_interval() -> None:
    """An interval that begins between two multiples: the first event is the next one, counted from the one before."""
    method = GMP(events="multiples", update_every=4, start_fraction=0.03, stop_fraction=0.085)
    spec = trial(sparsifier=method, sparsity=0.9)
    assert sorted(method.update_steps(PAPER)) == [80, 120]  # epochs 8 and 12 of 6 to 17
    assert method.sparsity_at(80, spec, PAPER) == pytest.approx(0.9 * (1 - (2 / 3) ** 3), rel=1e-12)


def test_a_training_without_an_event_is_refused() -> None:
    method = GMP(events="multiples", update_every=4, start_fraction=0.1, stop_fraction=0.8)
    with pytest.raises(
        ValueError, match=r"sparsifier\.events: no multiple of 4 epochs lies between steps 0 and 2 of 3"
    ):
        method.update_steps(TrainingSteps(3, 1))


def test_a_strict_threshold_takes_one_weight_more() -> None:
    """Dense before the first event; at it, at sparsity 0, one weight goes; then floor(n (1 - s)) - 1 stay."""
    method = GMP(strict_threshold=True)
    spec = trial(sparsifier=method, sparsity=0.9)
    assert [method.num_active_at(1000, step, spec, PAPER) for step in (-1, 199, 200, 239)] == [1000, 1000, 999, 999]
    share = 1 - (34 / 35) ** 3
    assert method.num_active_at(1000, 240, spec, PAPER) == int(1000 * (1 - 0.9 * share)) - 1
    assert method.num_active_at(1000, 1600, spec, PAPER) == int(1000 * (1 - 0.9)) - 1


@pytest.mark.parametrize("schedule", RAMPS)
def test_every_event_is_on_the_schedule(schedule: SparsitySchedule, digits: DeviceData) -> None:
    """Ten epochs of one step, an event each from step 2 to step 8: the network has what the ramp says, every time."""
    method = GMP(update_every=1, start_fraction=0.2, stop_fraction=0.8, schedule=schedule)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = Watched(spec, digits, torch.arange(32), lambda _: {})
    for _ in range(10):
        run.train_epoch()
    sparsities = [0, 0, *(RAMPS[schedule](event / 6, 0.9) for event in range(7)), 0.9]
    found = [sum(masks.counts().values()) for masks in run.seen]
    assert found == [num_active(run.masks.size, sparsity) for sparsity in sparsities]


@pytest.mark.parametrize("distribution", ["erk", "er", "uniform", "uniform_plus"])
def test_within_layers_nothing_revives_and_the_end_is_the_distribution(distribution: str, digits: DeviceData) -> None:
    method = GMP(update_every=1, start_fraction=0.1, stop_fraction=0.9, distribution=distribution)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = Watched(spec, digits, torch.arange(32), lambda _: {})
    for _ in range(10):
        run.train_epoch()
    for before, after in pairwise([*run.seen, run.masks]):
        assert not any((after[name] & ~before[name]).any() for name in after)
    shapes = {name: tuple(mask.shape) for name, mask in run.masks.items()}
    densities = DISTRIBUTIONS[distribution](shapes, num_active(run.masks.size, 0.9) / run.masks.size)
    for name, count in run.masks.counts().items():
        assert abs(count - densities[name] * run.masks[name].numel()) <= 2, name


def test_a_dense_first_layer_is_never_pruned(digits: DeviceData) -> None:
    method = GMP(update_every=1, start_fraction=0.1, stop_fraction=0.9, dense_first=True)
    run = begin(trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 4}), digits)
    for _ in range(4):
        run.train_epoch()
    first, *others = run.masks.values()
    assert first.all() and not any(mask.all() for mask in others)
    assert sum(run.masks.counts().values()) == num_active(run.masks.size, 0.9)


def test_dense_until_the_first_event(digits: DeviceData) -> None:
    run = begin(trial(sparsifier="gmp", sparsity=0.9), digits)
    assert run.masks.density() == 1
