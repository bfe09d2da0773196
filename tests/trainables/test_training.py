"""Training loop: history, evaluation, divergence, and the state for resuming."""

from __future__ import annotations

import pytest
import torch

from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import InitContext, Masks, UpdateContext
from sparsweep.trainables.sparsifiers.dense import Dense
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.training.trainer import DivergedError, Trainer
from support.tiny_trials import create_trainer, four_pixels, raise_no_prerequisite, trial


def test_history_of_a_training(digits: DeviceData) -> None:
    recipe = {"preset": "digits", "epochs": 4, "lr": 0.08}
    run = create_trainer(trial(recipe=recipe, sparsifier="random", sparsity=0.5), digits)
    records = [run.train_epoch() for _ in range(4)]
    assert run.history == records
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert [record.lr for record in records] == pytest.approx([0.08, 0.08, 0.008, 0.0008])
    assert {record.density for record in records} == {round(run.masks.size / 2) / run.masks.size}
    for record in records:
        assert 0 <= record.train_accuracy <= 1 and record.test_accuracy is not None and 0 <= record.test_accuracy <= 1
        assert record.seconds > 0


def test_optimizer_follows_the_learning_rate_schedule() -> None:
    run = create_trainer(trial(recipe={"epochs": 4, "milestones": [0.25, 0.5]}), four_images())
    rates = []
    for _ in range(4):
        run.train_epoch()
        rates.append(run.optimizer.param_groups[0]["lr"].item())
    assert rates == pytest.approx([0.1, 0.01, 0.001, 0.001])
    assert len(run.optimizer.param_groups) == 1, "weight decay applies to all parameters, including batch norm"


def four_images() -> DeviceData:
    images = torch.randint(0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(4)
    return DeviceData(images, labels, images, labels, 10, (0.5,), (0.25,))


def test_training_learns(digits: DeviceData) -> None:
    """After ten epochs on 320 digits, the accuracy is far above chance."""
    recipe = {"preset": "digits", "epochs": 10, "lr": 0.05}
    run = create_trainer(trial(model={"name": "resnet8", "width": 0.5}, recipe=recipe), digits, samples=320)
    for _ in range(10):
        run.train_epoch()
    assert run.history[-1].train_loss < run.history[0].train_loss / 2
    assert (run.history[-1].test_accuracy or 0) > 0.5


def test_evaluation_runs_at_its_interval_and_at_the_end() -> None:
    run = create_trainer(trial(evaluation={"every": 2}, recipe={"preset": "digits", "epochs": 5}), four_images())
    evaluated = [run.train_epoch().test_accuracy is not None for _ in range(5)]
    assert evaluated == [False, True, False, True, True]


def test_accuracy_is_the_fraction_of_correct_predictions(digits: DeviceData) -> None:
    run = create_trainer(trial(), digits)
    run.train_epoch()
    run.model.eval()
    with torch.no_grad():
        correct = run.model(digits.test_images.float() / 255).argmax(1) == digits.test_labels
    assert run.history[-1].test_accuracy == pytest.approx(int(correct.sum()) / 360, abs=1e-12)


def test_evaluation_does_not_change_the_network() -> None:
    run = create_trainer(trial(), four_images())
    run.train_epoch()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.evaluate()
    assert all(torch.equal(before[name], value) for name, value in run.model.state_dict().items())


def test_logits_do_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch, digits: DeviceData) -> None:
    run = create_trainer(trial(), digits)
    logits = run.network.logits(digits.test_images)
    monkeypatch.setattr("sparsweep.trainables.pipeline.network.EVALUATION_BATCH", 7)
    assert logits.shape == (360, 10)
    assert torch.allclose(run.network.logits(digits.test_images), logits, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_an_error(value: float) -> None:
    run = create_trainer(trial(), four_images())
    with torch.no_grad():
        run.model.get_parameter("linear.weight").fill_(value)
    with pytest.raises(DivergedError, match=r"training loss is (nan|inf) in epoch 1"):
        run.train_epoch()
    assert not run.history


def test_restored_training_does_not_share_its_state(digits: DeviceData) -> None:
    """Training of the restored trainer changes neither the written bytes nor the original trainer."""
    run = create_trainer(trial(sparsifier="set", sparsity=0.5), digits, samples=32)
    run.train_epoch()
    content = tensor_file.dumps(run.state())
    other = create_trainer(run.spec, digits, samples=32)
    other.restore(tensor_file.loads(content))
    other.train_epoch()
    assert (run.epoch, other.epoch) == (1, 2)
    weight = tensor_file.loads(content)["model"]["conv1.weight"]
    assert torch.equal(weight, run.weights["conv1.weight"].detach())
    assert not torch.equal(weight, other.weights["conv1.weight"].detach())


class Empty(Dense):
    """Method that masks all weights."""

    def initialize(self, start: InitContext) -> Masks:
        masks = super().initialize(start)
        return Masks({name: torch.zeros_like(mask) for name, mask in masks.items()})


class Unordered(Dense):
    """Method that returns its masks in another order."""

    def initialize(self, start: InitContext) -> Masks:
        return Masks(dict(reversed(list(super().initialize(start).items()))))


class Late(Dense):
    """Method that drops one weight too many at the second step."""

    def update_steps(self, timeline: object) -> tuple[int, ...]:
        return (1,)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        assert context.step == 1
        changed = {name: mask.clone() for name, mask in masks.items()}
        changed["conv1.weight"].view(-1)[0] = False
        return Masks(changed)


@pytest.mark.parametrize("method", [Empty, Unordered])
def test_invalid_initial_masks_are_an_error(method: type[Dense]) -> None:
    with pytest.raises(
        AssertionError,
        match=r"dense: masks before step -?\d must have 4964 active weights, in network order \(got \d+\)",
    ):
        create_trainer(trial(sparsifier=method()), four_images())


def test_invalid_masks_of_an_update_are_an_error() -> None:
    run = create_trainer(trial(sparsifier=Late()), four_images())
    run.train_epoch()
    with pytest.raises(AssertionError, match=r"dense: masks before step 1 must have 4964 .* \(got 4963\)"):
        run.train_epoch()


def test_mask_updates_work_without_momentum(digits: DeviceData) -> None:
    recipe = {"preset": "digits", "epochs": 3, "momentum": 0, "nesterov": False}
    method = {"name": "set", "update_every": 1, "prune_rate": 0.5, "stop_fraction": 1}
    run = Trainer(
        trial(sparsifier=method, sparsity=0.5, recipe=recipe), digits, torch.arange(32), raise_no_prerequisite
    )
    first = run.masks
    for _ in range(3):
        run.train_epoch()
    assert not first.equal(run.masks)


def test_grown_weights_start_at_zero_with_zero_momentum(digits: DeviceData) -> None:
    """One update: grown weights are zero, kept weights do not change."""
    method = {"name": "set", "update_every": 1, "prune_rate": 0.5, "stop_fraction": 1}
    recipe = {"preset": "digits", "epochs": 3}
    run = create_trainer(trial(sparsifier=method, sparsity=0.5, recipe=recipe), digits, samples=32)
    run.train_epoch()
    masks, step = run.masks, len(run.batches)
    assert step in run.update_steps
    before = {name: weight.detach().clone() for name, weight in run.weights.items()}
    batch = next(run.batches.iter_epoch(derive(0, "batches")))
    run._update_masks(run._update_context(step, batch, torch.empty(0)))
    grown = 0
    for name, weight in run.weights.items():
        new, kept = run.masks[name] & ~masks[name], run.masks[name] & masks[name]
        momentum = run.optimizer.state[weight]["momentum_buffer"]
        assert not weight.detach()[~kept].any() and not momentum[~kept].any()
        assert torch.equal(weight.detach()[kept], before[name][kept])
        grown += int(new.sum())
    assert grown > 100


def test_initial_weights_depend_only_on_the_seed(digits: DeviceData) -> None:
    """Data, data ratio, recipe and method do not change the initial network."""
    one = build_model(trial(seed=3), digits).state_dict()
    recipe = {"epochs": 9, "lr": 0.5}
    two = build_model(
        trial(seed=3, sparsifier="set", sparsity=0.9, recipe=recipe, data_ratio=1.0), four_pixels(classes=10)
    )
    names = [name for name in one if not name.startswith("normalize")]
    assert all(torch.equal(one[name], two.state_dict()[name]) for name in names)
