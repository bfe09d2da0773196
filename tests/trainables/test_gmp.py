"""Gradual magnitude pruning: events, cubic schedule, and no regrowth of pruned weights."""

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
from support.tiny_trials import create_trainer, trial

PAPER = TrainingSteps(200, 10)


def test_events_of_the_paper() -> None:
    """From 10 % to 80 % of 200 epochs, every 4 epochs: 20, 24, ..., 156, and the end, 160."""
    assert sorted(GMP().update_steps(PAPER)) == [10 * epoch for epoch in range(20, 161, 4)]


def test_the_end_of_the_pruning_phase_is_always_an_event() -> None:
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
        (900, 1 - (1 / 2 + 1 / 70) ** 3),  # epoch 90 is the middle of the phase; the last event is at epoch 88
        (1599, 1 - (1 / 35) ** 3),
        (1600, 1.0),
        (1999, 1.0),
    ],
)
def test_sparsity_follows_the_cubic_from_event_to_event(step: int, share: float) -> None:
    spec = trial(sparsifier="gmp", sparsity=0.9)
    assert GMP().sparsity_at(step, spec, PAPER) == pytest.approx(0.9 * share, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("sparsity", [0.1, 0.3, 0.7, 0.9, 0.99])
def test_the_last_event_has_exactly_the_final_sparsity(sparsity: float) -> None:
    spec = trial(sparsifier="gmp", sparsity=sparsity)
    assert GMP().sparsity_at(1600, spec, PAPER) == sparsity


def test_the_smallest_weights_of_the_network_are_pruned_by_hand() -> None:
    """Half of eight weights are pruned at the last event, ranked over both layers. Pruned weights stay pruned."""
    spec = trial(sparsifier=GMP(start_fraction=0.0, stop_fraction=0.5), sparsity=0.5)
    weights = {"a": torch.tensor([0.5, -0.9, 0.0, 0.1]), "b": torch.tensor([-0.2, 0.3, 0.0, 0.7])}
    masks = Masks({"a": torch.tensor([1, 1, 0, 1]).bool(), "b": torch.tensor([1, 1, 1, 1]).bool()})
    context = UpdateContext(spec, 5, TrainingSteps(10, 1), weights, torch.Generator())
    after = spec.sparsifier.update(masks, context)
    assert {name: mask.int().tolist() for name, mask in after.items()} == {"a": [1, 1, 0, 0], "b": [0, 1, 0, 1]}


def test_an_active_zero_weight_ranks_above_pruned_weights() -> None:
    """Three of four weights stay. Two active weights are zero, and the masked weight must not replace them."""
    spec = trial(sparsifier=GMP(start_fraction=0.0, stop_fraction=0.5), sparsity=0.25)
    masks = Masks({"a": torch.tensor([0, 1, 1, 1]).bool()})
    context = UpdateContext(spec, 5, TrainingSteps(10, 1), {"a": torch.tensor([0.0, 0.0, 0.0, 0.4])}, torch.Generator())
    assert spec.sparsifier.update(masks, context)["a"].tolist() == [False, True, True, True]


class RecordingTrainer(Trainer):
    """Trainer that records the masks of every step."""

    seen: list[Masks]

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        self.seen = [*getattr(self, "seen", []), self.masks]
        return super().train_step(images, labels, noise, step)


def test_density_follows_the_cubic_schedule_without_regrowth(digits: DeviceData) -> None:
    """Ten epochs of one step, with an event before each step from 2 to 8."""
    method = GMP(update_every=1, start_fraction=0.2, stop_fraction=0.8)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = RecordingTrainer(spec, digits, torch.arange(32), lambda _: {})
    for _ in range(10):
        run.train_epoch()
    size = run.masks.size
    shares = [0, 0, *(1 - (1 - event / 6) ** 3 for event in range(7)), 1]
    assert [sum(masks.counts().values()) for masks in run.seen] == [num_active(size, 0.9 * share) for share in shares]
    for before, after in zip(run.seen, run.seen[1:], strict=False):
        assert not any((after[name] & ~before[name]).any() for name in after)
    assert [epoch.density for epoch in run.history][-1] == num_active(size, 0.9) / size


def test_events_of_the_authors() -> None:
    """With init 20, final 160, frequency 4 their code prunes after epochs 20, 24, ..., 156 (progress 0, 1/35, ...)."""
    method = GMP(events="multiples")
    assert sorted(method.update_steps(PAPER)) == [10 * epoch for epoch in range(20, 157, 4)]
    spec = trial(sparsifier=method, sparsity=0.9)
    for number, epoch in enumerate(range(20, 157, 4)):
        expected = 0.9 * (1 - (1 - number / 35) ** 3)
        assert method.sparsity_at(10 * epoch, spec, PAPER) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert method.sparsity_at(1999, spec, PAPER) == pytest.approx(0.9 * (1 - (1 / 35) ** 3), rel=1e-12)
    assert round(method.sparsity_at(1999, spec, PAPER), 6) == 0.899979  # as measured in their code


def test_events_of_the_authors_are_multiples_of_the_interval() -> None:
    """The phase starts between two multiples. The first event is the next one, with progress from the one before."""
    method = GMP(events="multiples", update_every=4, start_fraction=0.03, stop_fraction=0.085)
    spec = trial(sparsifier=method, sparsity=0.9)
    assert sorted(method.update_steps(PAPER)) == [80, 120]  # epochs 8 and 12, in the phase from 6 to 17
    assert method.sparsity_at(80, spec, PAPER) == pytest.approx(0.9 * (1 - (2 / 3) ** 3), rel=1e-12)


def test_a_training_without_events_is_rejected() -> None:
    method = GMP(events="multiples", update_every=4, start_fraction=0.1, stop_fraction=0.8)
    with pytest.raises(
        ValueError, match=r"sparsifier\.events: no multiple of 4 epochs lies between steps 0 and 2 of 3"
    ):
        method.update_steps(TrainingSteps(3, 1))


def test_a_strict_threshold_prunes_one_more_weight() -> None:
    """Dense before the first event, which has sparsity 0 and prunes one weight. Later floor(n (1 - s)) - 1 stay."""
    method = GMP(strict_threshold=True)
    spec = trial(sparsifier=method, sparsity=0.9)
    assert [method.num_active_at(1000, step, spec, PAPER) for step in (-1, 199, 200, 239)] == [1000, 1000, 999, 999]
    share = 1 - (34 / 35) ** 3
    assert method.num_active_at(1000, 240, spec, PAPER) == int(1000 * (1 - 0.9 * share)) - 1
    assert method.num_active_at(1000, 1600, spec, PAPER) == int(1000 * (1 - 0.9)) - 1


@pytest.mark.parametrize("schedule", RAMPS)
def test_every_event_follows_the_schedule(schedule: SparsitySchedule, digits: DeviceData) -> None:
    """Ten epochs of one step, with an event before each step from 2 to 8. All sparsities follow the ramp."""
    method = GMP(update_every=1, start_fraction=0.2, stop_fraction=0.8, schedule=schedule)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = RecordingTrainer(spec, digits, torch.arange(32), lambda _: {})
    for _ in range(10):
        run.train_epoch()
    sparsities = [0, 0, *(RAMPS[schedule](event / 6, 0.9) for event in range(7)), 0.9]
    found = [sum(masks.counts().values()) for masks in run.seen]
    assert found == [num_active(run.masks.size, sparsity) for sparsity in sparsities]


@pytest.mark.parametrize("distribution", ["erk", "er", "uniform", "uniform_plus"])
def test_layer_budgets_end_at_the_distribution_without_regrowth(distribution: str, digits: DeviceData) -> None:
    method = GMP(update_every=1, start_fraction=0.1, stop_fraction=0.9, distribution=distribution)
    spec = trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 10})
    run = RecordingTrainer(spec, digits, torch.arange(32), lambda _: {})
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
    run = create_trainer(trial(sparsifier=method, sparsity=0.9, recipe={"preset": "digits", "epochs": 4}), digits)
    for _ in range(4):
        run.train_epoch()
    first, *others = run.masks.values()
    assert first.all() and not any(mask.all() for mask in others)
    assert sum(run.masks.counts().values()) == num_active(run.masks.size, 0.9)


def test_dense_until_the_first_event(digits: DeviceData) -> None:
    run = create_trainer(trial(sparsifier="gmp", sparsity=0.9), digits)
    assert run.masks.density() == 1
