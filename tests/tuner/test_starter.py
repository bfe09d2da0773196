"""``sparsweep init`` and ``sparsweep schema``: a sweep file to start from, and the schema for editors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from sparsweep.trainables.specs.parts import Part, registry_of
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import plain_yaml
from sparsweep.tuner.cli.app import app
from sparsweep.tuner.cli.starter import SCHEMA_NAME, write_starter
from sparsweep.tuner.config.json_schema import sweep_schema
from sparsweep.tuner.config.sweep import built_in, read_sweep
from sparsweep.tuner.errors import UsageError

VALID = """
name: valid
include: [smoke]
base:
  dataset: digits
  model: {name: resnet18, width: [0.125, 0.25]}
  recipe: {preset: digits, milestones: [0.5, 0.75]}
grids:
  - sparsifier: dense
  - sparsifier: [snip, {name: set, prune_rate: [0.1, 0.2]}, {name: [gmp, lth]}]
    sparsity: {from: 0.1, to: 0.9, step: 0.1}
    difficulty: {name: composed, selection: {name: el2n}, images: {name: corruption, severity: 3}, attack: adversarial}
    data_ratio: [0.3, 1.0]
    seed: [0, 1]
    evaluation: {every: 2, outcomes: [test, train], corruptions: {types: h15, severities: [1, 3]}, ood: cifar10}
resources: {cpus: 2, gpus: 0.5, execution: {compile: true}}
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return sweep_schema()


def problems(content: Any, schema: dict[str, Any]) -> list[str]:
    """Return the paths of the invalid values."""
    errors = Draft202012Validator(schema).iter_errors(content)
    return [".".join(map(str, error.absolute_path)) for error in errors]


def test_schema_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", built_in())
def test_built_in_sweeps_are_valid(name: str, schema: dict[str, Any]) -> None:
    assert problems(plain_yaml.load(built_in()[name].read_text()), schema) == []


def test_every_form_of_a_field_is_valid(schema: dict[str, Any]) -> None:
    assert problems(plain_yaml.load(VALID), schema) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("grid", []),
        ("most_runs", 0),
        ("name", "my sweep"),
        ("base.modell", "resnet8"),
        ("base.dataset", "digit"),
        ("base.recipe.lr", 0),
        ("base.recipe.epoch", 3),
        ("base.model.width", "wide"),
        ("grids.1.sparsity", 1.0),
        ("grids.1.sparsity", [0.5, 1.5]),
        ("grids.1.sparsity", {"from": 0.1, "until": 0.5}),
        ("grids.1.sparsifier", ["snip", "snap"]),
        ("grids.1.sparsifier", {"name": "set", "update_evry": 2}),
        ("grids.1.difficulty.selection", "easy"),
        ("grids.1.evaluation.outcomes", ["tests"]),
        ("grids.1.evaluation.corruptions.severities", 3),
        ("grids.1.seed", -1),
        ("resources.execution.compile", "fast"),
    ],
)
def test_invalid_value_is_found(path: str, value: Any, schema: dict[str, Any]) -> None:
    content = copy.deepcopy(plain_yaml.load(VALID))
    *parents, last = path.split(".")
    holder = content
    for key in parents:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    holder[last] = value
    assert problems(content, schema)


def test_schema_names_every_part_and_field(schema: dict[str, Any]) -> None:
    assert set(schema["$defs"]["cell"]["properties"]) == set(TrialSpec.model_fields)
    for part in get_args(Part):
        names = registry_of(part).names()
        assert schema["$defs"][f"{part.capitalize()}Spec"]["anyOf"][0]["enum"] == names
        for name, entry in zip(names, schema["$defs"][f"{part.capitalize()}Spec"]["anyOf"][1:-1], strict=True):
            fields = registry_of(part)[name].model_fields
            assert set(entry["properties"]) == {field.alias or key for key, field in fields.items()}


def test_search_spaces_are_checked(schema: dict[str, Any]) -> None:
    search = plain_yaml.load(built_in()["search-digits"].read_text())
    assert problems(search, schema) == []
    space = search["search"]["space"]
    (space[0] if isinstance(space, list) else space)["sparsty"] = {"from": 0.1, "to": 0.9, "log": True}
    assert problems(search, schema)


def test_starter_is_a_valid_sweep(tmp_path: Path, schema: dict[str, Any]) -> None:
    file = tmp_path / "mine.yaml"
    lines = write_starter(file)
    sweep = read_sweep(str(file))
    assert f"a sweep of {len(sweep.trials)} trials" in lines[0]
    assert sweep.name == "mine"
    assert problems(plain_yaml.load(file.read_text()), schema) == []
    assert json.loads((tmp_path / SCHEMA_NAME).read_text()) == schema
    assert file.read_text().startswith(f"# yaml-language-server: $schema={SCHEMA_NAME}\n")


def test_starter_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.yaml: exists already\. Choose another name"):
        write_starter(file)
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="not writable: No such file or directory"):
        write_starter(tmp_path / "missing/mine.yaml")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert runner.invoke(app, ["init"]).output.startswith("sweep.yaml: a sweep of ")
    assert json.loads(runner.invoke(app, ["schema"]).output) == schema
