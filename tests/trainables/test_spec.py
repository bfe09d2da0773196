"""Trial ids: fields that change the id, fields that do not, and ids that must never change."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.recipe import RECIPE_PRESETS, Recipe
from sparsweep.trainables.specs.run import RUN_KINDS, from_json, to_json
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_trials import trial

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "trial_ids.json").read_text())


@pytest.mark.parametrize("case", GOLDEN, ids=[case["id"] for case in GOLDEN])
def test_ids_never_change(case: dict[str, Any]) -> None:
    """Stored results of a trial are lost if its id changes. Increase the schema version if the meaning changes."""
    assert RUN_KINDS[case["kind"]].model_validate(case["spec"]).id == case["id"]


def test_golden_ids_differ() -> None:
    assert len({case["id"] for case in GOLDEN}) == len(GOLDEN) >= 10


def test_id_is_sixteen_hex_digits() -> None:
    assert len(trial().id) == 16 and int(trial().id, 16) >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"data_ratio": 0.2},
        {"dataset": {"name": "digits", "validation": 100}},
        {"model": "resnet8"},
        {"model": "resnet18"},
        {"difficulty": {"name": "el2n", "epoch": 1}},
        {"difficulty": {"name": "el2n", "epoch": 1, "keep": "easiest"}},
        {"evaluation": {"every": 2}},
        {"sparsifier": "set", "sparsity": 0.5},
        {"sparsifier": "set", "sparsity": 0.6},
        {"sparsifier": {"name": "set", "prune_rate": 0.3}, "sparsity": 0.5},
        {"sparsifier": "random", "sparsity": 0.5},
        *(
            {"recipe": {"preset": "digits", "epochs": 2, **change}}
            for change in (
                {"epochs": 3},
                {"batch_size": 16},
                {"lr": 0.2},
                {"milestones": [0.5]},
                {"gamma": 0.2},
                {"momentum": 0.8},
                {"nesterov": False},
                {"weight_decay": 0.0},
                {"crop_padding": 2},
                {"flip": True},
                {"rotation": 15.0},
                {"drop_last": True},
                {"precision": "bf16"},
            )
        ),
    ],
    ids=str,
)
def test_every_field_changes_the_id(changes: dict[str, Any]) -> None:
    assert trial(**changes).id != trial().id


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "digits"}},
        {"model": {"width": 0.25, "name": "resnet8"}},
        {"difficulty": "none"},
        {"sparsity": 0},
        {"recipe": {"epochs": 2, "batch_size": 32, "lr": 0.02, "crop_padding": 1, "flip": False}},
        {"recipe": {"preset": "digits", "epochs": 2, "lr": 0.02, "milestones": (0.5, 0.75)}},
        {"recipe": {"epochs": "2", "preset": "digits"}},
        {"evaluation": {}},
        {"profile": "clean"},
    ],
    ids=str,
)
def test_equal_trials_written_differently_have_one_id(changes: dict[str, Any]) -> None:
    """Presets, defaults, the order of keys and number types do not change the trial."""
    assert trial(**changes).id == trial().id
    assert trial(**changes) == trial()


def test_spec_contains_no_machine_settings() -> None:
    """Workers, devices and paths do not change the result. Therefore a trial must not contain them."""
    expected = {"dataset", "model", "sparsifier", "sparsity", "difficulty", "data_ratio", "recipe", "evaluation"}
    assert set(TrialSpec.model_fields) == expected | {"seed", "profile"}


def test_trial_and_its_scoring_runs_have_different_ids() -> None:
    one, two = (ScoringSpec.of(trial(), 0, epochs, "el2n") for epochs in (1, 2))
    assert len({one.id, two.id, trial().id, one.trial.id}) == 4


def test_scores_of_a_scoring_run_do_not_change_its_id() -> None:
    """All scores come from the same network. Equal runs are merged and compute all requested scores."""
    first, second = (ScoringSpec.of(trial(), 7, 2, score) for score in ("grand", "aum"))
    assert first.id == second.id
    assert first.merge(second).scores == second.merge(first).scores == ("aum", "grand")
    assert first.merge(second).id == first.id


def test_replace_changes_fields_and_validates() -> None:
    spec = trial()
    _ = spec.id  # the cached id must not be copied
    other = spec.replace(sparsifier="set", sparsity=0.5)
    assert (other.sparsifier.name, other.sparsity, other.recipe) == ("set", 0.5, spec.recipe)
    assert other.id != spec.id
    assert other.replace(sparsifier="dense", sparsity=0.0).id == spec.id
    with pytest.raises(ValidationError):
        spec.replace(sparsity=0.5)
    with pytest.raises(ValidationError):
        spec.replace(spasity=0.5)


def test_equality_does_not_depend_on_a_computed_id() -> None:
    first, second = trial(), trial()
    _ = first.id
    assert first == second and hash(first) == hash(second)


SPECS = [
    trial(),
    trial(sparsifier={"name": "set", "prune_rate": 0.25}, sparsity=0.9, seed=3),
    trial(difficulty={"name": "el2n", "epoch": 2, "keep": "random"}, data_ratio=0.3, recipe={"epochs": 7}),
    ScoringSpec(trial=trial(model={"name": "resnet18", "width": 0.5}), epochs=2, scores=("aum", "el2n")),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_dump_and_load_give_the_same_spec(spec: TrialSpec | ScoringSpec) -> None:
    loaded = from_json(to_json(spec))
    assert loaded == spec and type(loaded) is type(spec) and loaded.id == spec.id
    assert pickle.loads(pickle.dumps(spec)).id == spec.id


def test_text_of_a_spec() -> None:
    assert str(trial(sparsifier="set", sparsity=0.9, seed=3)) == "set 0.9 on digits/resnet8 none 0.1 seed 3"
    assert str(trial()) == "dense on digits/resnet8 none 0.1 seed 0"
    assert str(SPECS[-1]) == "aum, el2n of digits/resnet18 seed 0 epoch 2"


@pytest.mark.parametrize(("ratio", "samples"), [(1.0, 1437), (0.5, 718), (0.3, 431), (0.1, 144), (1e-6, 1)])
def test_number_of_samples_is_the_nearest_integer(ratio: float, samples: int) -> None:
    assert trial(data_ratio=ratio).num_samples == samples


def test_prerequisites_are_those_of_sparsifier_and_difficulty() -> None:
    spec = trial(sparsifier="omp", sparsity=0.5, difficulty={"name": "el2n", "epoch": 1, "runs": 2})
    dense, *scores = spec.prerequisites()
    assert dense == spec.replace(sparsifier="dense", sparsity=0.0)
    assert [(run.trial.seed, run.epochs) for run in scores if isinstance(run, ScoringSpec)] == [(1000, 1), (1001, 1)]


def test_defaults_are_the_papers_recipe() -> None:
    """Paper, appendix A.2 and A.3."""
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum) == (200, 128, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.milestones, recipe.gamma, recipe.nesterov) == (5e-4, (0.5, 0.75), 0.1, True)
    assert Recipe.model_validate("paper") == recipe


def test_explicit_fields_override_the_preset() -> None:
    recipe = Recipe.model_validate({"preset": "digits", "batch_size": 64})
    assert (recipe.steps, recipe.batch_size, recipe.flip) == (RECIPE_PRESETS["digits"]["steps"], 64, False)
    assert Recipe.model_validate({"preset": "digits", "epochs": 3}).steps is None


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.1), (99, 0.1), (100, 0.01), (149, 0.01), (150, 0.001), (199, 0.001)])
def test_learning_rate_of_the_paper(epoch: int, lr: float) -> None:
    assert Recipe().learning_rate(10 * epoch, TrainingSteps(200, 10)) == pytest.approx(lr, rel=1e-12)


def test_learning_rate_without_milestones_is_constant() -> None:
    recipe = Recipe(epochs=3, milestones=(), lr=0.3)
    assert [recipe.learning_rate(step, TrainingSteps(3, 2)) for step in range(6)] == [0.3] * 6


@pytest.mark.parametrize(("model", "resolved"), [("resnet8", "fp32"), ("resnet18", "bf16"), ("vgg16", "bf16")])
def test_automatic_precision_depends_only_on_the_model(model: str, resolved: str) -> None:
    """A trial stores the resolved precision, never ``auto``. The other precision is another trial."""
    recipe = {"preset": "digits", "epochs": 2}
    auto, named = (trial(model=model, recipe={**recipe, "precision": value}) for value in ("auto", resolved))
    assert auto.recipe.precision == resolved and auto.id == named.id and to_json(auto) == to_json(named)
    other = {"fp32": "bf16", "bf16": "fp32"}[resolved]
    assert trial(model=model, recipe={**recipe, "precision": other}).id != auto.id
    assert ScoringSpec.of(auto, 0, 1, "el2n").trial.recipe.precision == resolved
