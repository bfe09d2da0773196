"""Recipes in steps: the same number of steps, and the same update steps, at every data ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.sparsifiers.set import SET
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.recipe import Recipe
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import TIMES, inputs, trial

PASS = 45  # batches of 32 in the 1,437 training images
METHODS = [
    ("dense", 0.0),
    ({"name": "set", "update_every": 0.5}, 0.8),
    ({"name": "gmp", "update_every": 0.5}, 0.8),
    ("snip", 0.8),
    ({"name": "lth", "rewind_to": 1}, 0.8),
]


def finish(spec: Any, data: DeviceData, store: Store, at_once: float = float("inf")) -> None:
    for parent in spec.prerequisites():
        finish(parent, data, store)
    run = open_run(spec, inputs(data), store, "test")
    while not run.progress.is_finished:
        run.run_for(at_once)
        run = open_run(spec, inputs(data), store, "test") if not run.progress.is_finished else run


def results(spec: TrialSpec, store: Store) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, torch.Tensor]]:
    tables = [pd.read_parquet(Path(store.root, "results", name, f"{spec.id}.parquet")) for name in ("trials", "epochs")]
    different = ["trial", "comparison", "step_budget", "spec", *TIMES]
    trials, epochs = (table.drop(columns=different, errors="ignore") for table in tables)
    return trials, epochs, store.read_weights(spec.id)["model"]


def in_steps(steps: int, **changes: Any) -> TrialSpec:
    return trial(recipe={"preset": "digits", "steps": steps}, **changes)


@pytest.mark.parametrize(("sparsifier", "sparsity"), METHODS)
def test_equal_lengths_in_steps_and_epochs_give_the_same_bits(
    sparsifier: Any, sparsity: float, digits: DeviceData, store: Store
) -> None:
    common = {"sparsifier": sparsifier, "sparsity": sparsity, "data_ratio": 1.0}
    one, other = trial(**common), in_steps(2 * PASS, **common)
    assert one.id != other.id
    for spec in (one, other):
        finish(spec, digits, store)
    (trials, epochs, weights), (other_trials, other_epochs, other_weights) = results(one, store), results(other, store)
    pd.testing.assert_frame_equal(trials, other_trials)
    pd.testing.assert_frame_equal(epochs, other_epochs)
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


def test_steps_are_more_passes_with_less_data(digits: DeviceData, store: Store) -> None:
    # 144 samples are 5 batches: 45 steps are nine passes. The masks and the learning rate are constant.
    recipe = {"preset": "digits", "milestones": []}
    one, other = trial(recipe={**recipe, "epochs": 9}), trial(recipe={**recipe, "steps": PASS})
    for spec in (one, other):
        finish(spec, digits, store)
    weights, other_weights = results(one, store)[2], results(other, store)[2]
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


@pytest.mark.parametrize("steps", [70, 93])  # within a pass, and within an epoch
def test_run_resumed_within_a_pass_equals_an_uninterrupted_run(
    steps: int, digits: DeviceData, store: Store, tmp_path: Path
) -> None:
    spec = in_steps(steps, sparsifier={"name": "set", "update_every": 0.5}, sparsity=0.8)
    finish(spec, digits, store)
    other = Store(str(tmp_path / "resumed"))
    finish(spec, digits, other, at_once=0)
    for expected, resumed in zip(results(spec, store)[:2], results(spec, other)[:2], strict=True):
        pd.testing.assert_frame_equal(expected, resumed, check_exact=True)


def test_length_of_a_trial_in_steps(digits: DeviceData, store: Store) -> None:
    spec = in_steps(100, evaluation={"every": 1})
    assert (spec.recipe.epochs, spec.epoch_steps, spec.pass_steps, spec.steps) == (3, PASS, 5, 100)
    finish(spec, digits, store)
    trials, epochs, _ = results(spec, store)
    assert (trials["epochs"].item(), trials["steps"].item()) == (3, 100)
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert spec.images_until(3) == 20 * 144  # twenty passes
    assert spec.images_until(1) == 9 * 144


@pytest.mark.parametrize("ratio", [0.1, 0.3, 1.0])
def test_updates_fall_on_the_same_steps_at_every_data_ratio(ratio: float) -> None:
    spec = in_steps(10 * PASS + 7, data_ratio=ratio)
    timeline = TrainingSteps(spec.recipe.epochs, spec.epoch_steps, spec.recipe.steps)
    assert timeline.steps == 10 * PASS + 7
    assert list(SET(update_every=2).update_steps(timeline)) == [2 * PASS, 4 * PASS, 6 * PASS]
    assert timeline.first_step(11) == timeline.steps


def test_recipe_in_steps_survives_dump_and_load() -> None:
    spec = in_steps(100)
    assert from_json(to_json(spec)) == spec and from_json(to_json(spec)).id == spec.id
    assert spec.replace(data_ratio=1.0).recipe.epochs == 3


def test_recipe_in_epochs_is_dumped_without_steps() -> None:
    assert "steps" not in Recipe().model_dump() and "steps" in Recipe(steps=10).model_dump()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            {"steps": 100, "epochs": 12},
            "recipe.steps: steps and epochs disagree (got steps 100 and epochs 12). Give one.",
        ),
        ({"steps": 0}, "recipe.steps: Input should be greater than or equal to 1 (got 0)"),
        (
            {"steps": 1.5},
            "recipe.steps: Input should be a valid integer",
        ),
        (
            {"steps": 10**9, "batch_size": 1437},
            "recipe.steps: must be at most 100000 epochs of 1 steps (got 1000000000)",
        ),
    ],
)
def test_invalid_length_is_a_one_line_error(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        trial(recipe=recipe, data_ratio=1.0)
    assert format_error(error.value).startswith(message)
