"""Validation errors state the field, the given value and the allowed values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from sparsweep.trainables.specs.base import FrozenModel, NamedSpec, Registry, format_error, unknown_choice
from sparsweep.trainables.specs.partial import ScoringSpec
from support.tiny_trials import trial

ERRORS = [
    ({"sparsifier": "sett"}, ["sparsifier: ", "'sett'", "did you mean set?", "dense, dsr, gmp, grasp, itop, lth"]),
    ({"dataset": "digit"}, ["dataset: ", "'digit'", "did you mean digits?"]),
    ({"model": "resnet9"}, ["model: ", "'resnet9'", "did you mean resnet", "choose from resnet18"]),
    ({"difficulty": "easy"}, ["difficulty: ", "'easy'", "choose from", "el2n", "none"]),
    ({"sparsity": 1.0, "sparsifier": "set"}, ["sparsity: ", "less than 1", "1.0"]),
    ({"sparsity": -0.1, "sparsifier": "set"}, ["sparsity: ", "greater than or equal to 0", "-0.1"]),
    ({"sparsity": float("nan"), "sparsifier": "set"}, ["sparsity: ", "nan"]),
    ({"sparsity": 0.5}, ["sparsity: ", "dense", "0.5"]),
    ({"sparsity": 0.0, "sparsifier": "set"}, ["sparsity: ", "set", "(0, 1)", "got 0"]),
    ({"data_ratio": 0}, ["data_ratio: ", "greater than 0", "(got 0)"]),
    ({"data_ratio": 1.5}, ["data_ratio: ", "1.5"]),
    ({"spasity": 0.5}, ["unknown field 'spasity'", "did you mean sparsity?", "data_ratio"]),
    ({"recipe": {"epoch": 3}}, ["recipe", "unknown field 'epoch'", "did you mean epochs?", "batch_size"]),
    ({"recipe": {"epochs": 0}}, ["recipe.epochs: ", "(got 0)"]),
    ({"recipe": {"epochs": "many"}}, ["recipe.epochs: ", "integer", "'many'"]),
    ({"recipe": {"epochs": 1.5}}, ["recipe.epochs: ", "1.5"]),
    ({"recipe": {"lr": float("inf")}}, ["recipe.lr: ", "inf"]),
    ({"recipe": {"precision": "fp16"}}, ["recipe.precision: ", "'fp32', 'bf16' or 'auto'", "'fp16'"]),
    ({"recipe": {"milestones": [0.7, 0.5]}}, ["recipe.milestones: ", "ascending", "[0.7, 0.5]"]),
    ({"recipe": {"milestones": [0.5, 0.5]}}, ["recipe.milestones: ", "[0.5, 0.5]"]),
    ({"recipe": {"milestones": [0.0]}}, ["recipe.milestones: ", "(0, 1)", "[0.0]"]),
    ({"recipe": {"momentum": 0}}, ["recipe.nesterov: ", "momentum"]),
    ({"recipe": {"preset": "papr"}}, ["recipe.preset: ", "'papr'", "did you mean paper?", "paper, digits"]),
    ({"recipe": "papr"}, ["recipe.preset: ", "'papr'", "paper, digits"]),
    ({"recipe": 5}, ["recipe: ", "(got 5)"]),
    ({"evaluation": {"every": 0}}, ["evaluation.every: ", "(got 0)"]),
    ({"seed": -1}, ["seed: ", "(got -1)"]),
    ({"seed": 2**31}, ["seed: ", str(2**31)]),
    ({"profile": "author"}, ["profile: ", "'clean'", "'authors'", "'author'"]),
    ({"model": {"name": "resnet8", "widht": 2}}, ["model", "unknown field 'widht'", "did you mean width?"]),
    ({"model": {"name": "resnet8", "width": 0}}, ["model.width: ", "(got 0)"]),
    ({"model": {"width": 1}}, ["model: ", "None", "resnet8"]),
    (
        {"difficulty": {"name": "el2n", "keep": "hard"}},
        ["difficulty.keep: ", "'hardest', 'easiest', 'random' or 'window'", "'hard'"],
    ),
    (
        {"difficulty": {"name": "el2n", "epoch": 3}, "data_ratio": 0.5},
        ["difficulty.epoch: ", "3", "recipe.epochs", "2"],
    ),
    ({"sparsifier": {"name": "set", "prune_rate": 3}, "sparsity": 0.5}, ["sparsifier.prune_rate: ", "(got 3)"]),
    (
        {"sparsifier": {"name": "gmp", "start_fraction": 0.6, "stop_fraction": 0.5}, "sparsity": 0.5},
        ["sparsifier.stop_fraction: ", "0.5", "0.6"],
    ),
    ({"sparsifier": ["set"]}, ["sparsifier: ", "['set']", "dense, dsr"]),
    ({"sparsifier": {"name": ["set"]}}, ["sparsifier: ", "['set']", "dense, dsr"]),
    ({"sparsifier": None}, ["sparsifier: ", "None", "dense, dsr"]),
    ({"recipe": {"preset": ["digits"]}}, ["recipe.preset: ", "['digits']", "paper, digits"]),
]


@pytest.mark.parametrize(("changes", "parts"), ERRORS, ids=lambda value: str(value)[:50])
def test_invalid_value_is_a_one_line_error(changes: dict[str, Any], parts: list[str]) -> None:
    """The line contains the field, the value and the choices."""
    with pytest.raises(ValidationError) as caught:
        trial(**changes)
    line = format_error(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_missing_field_is_an_error_with_its_name() -> None:
    with pytest.raises(ValidationError) as caught:
        ScoringSpec.model_validate({"epochs": 3})
    assert format_error(caught.value) == "trial: Field required"


def test_error_in_a_nested_trial_states_the_full_path() -> None:
    fields = trial().model_dump(mode="json")
    fields["recipe"]["epochs"] = 0
    with pytest.raises(ValidationError) as caught:
        ScoringSpec.model_validate({"trial": fields, "epochs": 3, "scores": ["el2n"]})
    assert format_error(caught.value).startswith("trial.recipe.epochs: ")


def test_seeds_of_scoring_runs_must_be_valid() -> None:
    """The last of ten seeds from 2^31 - 3 is too large. The error is raised when the trial is created."""
    with pytest.raises(ValidationError) as caught:
        trial(difficulty={"name": "el2n", "epoch": 1, "first_seed": 2**31 - 3, "runs": 10}, data_ratio=0.5)
    assert "first_seed" in format_error(caught.value)


def test_unknown_choice_lists_the_choices_and_the_nearest() -> None:
    assert unknown_choice("colour", "redd", ["red", "blue"]) == (
        "unknown colour 'redd' (did you mean red?); choose from red, blue"
    )
    assert unknown_choice("colour", "xyz", ["red", "blue"]) == "unknown colour 'xyz'; choose from red, blue"


class Fruit(NamedSpec):
    """Something to eat.

    More about it.
    """


def fruit_registry() -> Registry[Fruit]:
    """Return a registry of two fruits."""
    registry: Registry[Fruit] = Registry("fruit")

    @registry.register
    class Plum(Fruit):
        """A plum.

        It is blue.
        """

        name: Literal["plum"] = "plum"
        stones: int = 1

    @registry.register
    class Apple(Fruit):
        """An apple."""

        name: Literal["apple"] = "apple"

    return registry


def test_registry_lists_names_in_order_and_summaries() -> None:
    registry = fruit_registry()
    assert registry.names() == ["apple", "plum"]
    assert registry["plum"].summary() == "A plum."


def test_registry_parses_a_name_a_mapping_and_a_value() -> None:
    registry = fruit_registry()
    plum = registry.parse("plum")
    assert registry.parse({"name": "plum", "stones": 1}) == plum
    assert registry.parse(plum) is plum
    assert registry.parse({"name": "plum", "stones": 2}) != plum


def test_second_class_of_the_same_name_is_an_error() -> None:
    registry = fruit_registry()

    class Prune(Fruit):
        """A dry plum."""

        name: Literal["plum"] = "plum"

    with pytest.raises(ValueError, match="two classes register as fruit 'plum'"):
        registry.register(Prune)


def test_class_of_the_same_name_in_another_module_is_an_error() -> None:
    """Two classes would give the same ids. A class of the same module, imported again, replaces the first."""
    registry = fruit_registry()
    plum = registry["plum"]

    def defined_in(module: str) -> type[Fruit]:
        return type(plum)("Plum", (plum,), {"__module__": module, "__qualname__": plum.__qualname__})

    reimported = defined_in(plum.__module__)
    registry.register(reimported)
    assert registry["plum"] is reimported
    with pytest.raises(ValueError, match="two classes register as fruit 'plum'"):
        registry.register(defined_in("theirs"))


def test_class_without_a_name_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"Fruit\.name: no default"):
        fruit_registry().register(Fruit)


def test_field_of_a_registry_keeps_the_fields_of_the_subclass() -> None:
    registry = fruit_registry()

    class Basket(FrozenModel):
        fruit: Annotated[SerializeAsAny[Fruit], BeforeValidator(registry.parse)]

    basket = Basket.model_validate({"fruit": {"name": "plum", "stones": 3}})
    assert basket.model_dump() == {"fruit": {"name": "plum", "stones": 3}}
    with pytest.raises(ValidationError) as caught:
        Basket.model_validate({"fruit": {"name": "plum", "stones": "x"}})
    assert format_error(caught.value).startswith("fruit.stones: ")


def test_values_are_frozen() -> None:
    spec = trial()
    with pytest.raises(ValidationError):
        spec.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec.recipe.epochs = 3  # type: ignore[misc]
