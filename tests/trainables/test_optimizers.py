"""Optimizers and learning-rate schedules against PyTorch and closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.recipe import Recipe
from sparsweep.trainables.specs.schedules import one_cycle
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.testing import check_same, check_zeros, comparable, tiny_trial, training
from sparsweep.trainables.training.optimizers import OptimizerSettings, make_optimizer
from support.contract_settings import SPARSIFIER_NAMES, SPARSIFIERS, SPARSITY

TIMELINE = TrainingSteps(epochs=5, steps_per_epoch=4)
RATES = {"lr": 0.5, "schedule": "cosine"}


def rates(**fields: Any) -> list[float]:
    recipe = Recipe(epochs=TIMELINE.epochs, **{"lr": 0.5, **fields})
    return [recipe.learning_rate(step, TIMELINE) for step in range(TIMELINE.steps)]


def torch_rates(schedule: Any, **settings: Any) -> list[float]:
    """Return the rates of one of PyTorch's schedulers over the timeline."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = schedule(optimizer, **settings)
    found = []
    for _ in range(TIMELINE.steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


# Schedules -----------------------------------------------------------------------------------------------------------


def test_steps_fall_at_whole_epochs() -> None:
    assert rates(milestones=[0.5, 0.75]) == pytest.approx([0.5] * 8 + [0.05] * 4 + [0.005] * 8)


def test_cosine_is_that_of_pytorch() -> None:
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=TIMELINE.steps)
    assert rates(schedule="cosine") == pytest.approx(expected, rel=1e-9)
    assert rates(schedule="cosine")[10] == pytest.approx(0.25)  # half way


def test_linear_is_that_of_pytorch() -> None:
    settings = {"start_factor": 1.0, "end_factor": 1e-12, "total_iters": TIMELINE.steps}
    expected = torch_rates(torch.optim.lr_scheduler.LinearLR, **settings)
    assert rates(schedule="linear") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rise", [0.3, 0.5, 0.05])
def test_one_cycle_is_that_of_pytorch(rise: float) -> None:
    settings = {"max_lr": 0.5, "total_steps": TIMELINE.steps + 1, "pct_start": rise, "cycle_momentum": False}
    expected = torch_rates(torch.optim.lr_scheduler.OneCycleLR, **settings)
    found = [0.5 * one_cycle(step, TIMELINE.steps + 1, rise) for step in range(TIMELINE.steps)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_one_cycle_rises_to_its_top_and_ends_at_its_end() -> None:
    found = rates(schedule="one_cycle", warmup=0.3)
    assert found[0] == pytest.approx(0.5 / 25) and found[5] == max(found) == 0.5
    assert found[-1] == pytest.approx(0.5 / 250_000)


def test_warmup_is_a_line_and_then_the_whole_schedule() -> None:
    """A quarter of twenty steps: 1/5 to 5/5 of the rate, then a schedule over fifteen steps."""
    assert rates(warmup=0.25, milestones=[])[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    cosine = rates(warmup=0.25, schedule="cosine")
    assert cosine[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    assert cosine[5 + 6] == pytest.approx(0.25 * (1 + math.cos(math.pi * 6 / 15)))


def test_schedules_scale_with_the_data() -> None:
    """At a length in epochs, less data means fewer steps and the same rate at the same share of training."""
    recipe = Recipe(epochs=5, **RATES)
    short, long = TrainingSteps(5, 2), TrainingSteps(5, 8)
    assert [recipe.learning_rate(step, short) for step in range(10)] == pytest.approx(
        [recipe.learning_rate(4 * step, long) for step in range(10)]
    )


# Identity and errors -------------------------------------------------------------------------------------------------


def test_defaults_are_left_out_of_the_id() -> None:
    new = {"optimizer", "schedule", "warmup", "beta1", "beta2", "epsilon"}
    assert not new & Recipe().model_dump().keys()
    adamw = Recipe(optimizer="adamw", schedule="cosine").model_dump()
    assert adamw["optimizer"] == "adamw" and adamw["beta2"] == 0.999
    assert not {"momentum", "nesterov", "milestones", "gamma"} & adamw.keys()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"beta1": 0.8}, "beta1: has no effect with optimizer sgd (got 0.8). Leave it out."),
        ({"optimizer": "adamw", "momentum": 0.5}, "momentum: has no effect with optimizer adamw (got 0.5)"),
        ({"schedule": "cosine", "gamma": 0.2}, "gamma: has no effect with schedule cosine (got 0.2)"),
        ({"schedule": "one_cycle"}, "warmup: one_cycle needs a share above 0 (got 0). Set it, usually to 0.3."),
        ({"optimizer": "adam"}, "optimizer: Input should be 'sgd' or 'adamw' (got 'adam')"),
    ],
)
def test_fields_without_effect_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError) as error:
        tiny_trial("snip", recipe={"epochs": 2, **fields})
    assert format_error(error.value).startswith(f"recipe.{reason}")  # type: ignore[arg-type]


def test_adamw_without_momentum_fields_is_valid() -> None:
    assert tiny_trial("snfs", recipe={"epochs": 4, "batch_size": 10, "optimizer": "adamw"}).recipe.beta1 == 0.9


# Optimizers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_steps_equal_those_of_pytorch_in_float64(name: str) -> None:
    recipe = Recipe(optimizer=name, weight_decay=0.1)
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 4).double(), torch.randn(5, 3, 4).double()
    own, reference = (nn.Parameter(start.clone()) for _ in range(2))
    optimizer = make_optimizer(OptimizerSettings.of(recipe), [own], torch.tensor(0.05, dtype=torch.float64))
    if name == "sgd":
        expected: Any = torch.optim.SGD([reference], lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1)
    else:
        expected = torch.optim.AdamW([reference], lr=0.05, weight_decay=0.1)
    for gradient in gradients:
        own.grad, reference.grad = gradient.clone(), gradient.clone()
        optimizer.step(), expected.step()
    assert torch.allclose(own, reference, rtol=1e-12, atol=1e-14)


def test_first_update_of_a_grown_weight_matches_the_closed_form() -> None:
    """Zero moments after 1000 steps: (1 - beta1) / sqrt(1 - beta2), up to the bias correction of that step."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    settings = OptimizerSettings.of(Recipe(optimizer="adamw", weight_decay=0))
    optimizer = make_optimizer(settings, [weight], torch.tensor(1.0, dtype=torch.float64))
    optimizer.state[weight]["step"].fill_(1000)
    weight.grad = torch.tensor([2.0], dtype=torch.float64)
    optimizer.step()
    expected = 0.1 / (1 - 0.9**1001) / math.sqrt(0.001 / (1 - 0.999**1001))
    assert float(weight.detach()) == pytest.approx(-expected, rel=1e-6)


# Every sparsifier ----------------------------------------------------------------------------------------------------


def adamw_trial(name: str) -> TrialSpec:
    recipe = {"epochs": 4, "batch_size": 10, "crop_padding": 1, "lr": 0.01, "optimizer": "adamw"}
    fields = {"name": name, **SPARSIFIERS.get(name, {})}
    return tiny_trial(fields, SPARSITY.get(name, 0.8), recipe={**recipe, "schedule": "cosine", "warmup": 0.25})


@pytest.mark.parametrize("name", SPARSIFIER_NAMES)
def test_every_method_trains_under_adamw_and_resumes_bit_for_bit(name: str) -> None:
    whole, half = (training(adamw_trial(name)) for _ in range(2))
    for _ in range(2):
        whole.train_epoch(), half.train_epoch()
    resumed = training(adamw_trial(name))
    resumed.restore(tensor_file.loads(tensor_file.dumps(half.state())))
    for _ in range(len(whole.history), whole.timeline.epochs):
        whole.train_epoch(), resumed.train_epoch()
        check_zeros(whole)
    check_same(comparable(whole), comparable(resumed))
