"""Sweep files: expansion, overrides and errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparsweep.tuner.config.overrides import apply_override
from sparsweep.tuner.config.sweep import Sweep, SweepError, built_in, expand, merge, parse_sweep, read_sweep
from support.tiny_datasets import small_imagefolder

SMALL = """
base: {dataset: digits, model: resnet8, recipe: digits, seed: [0, 1]}
grids:
  - sparsifier: dense
  - sparsifier: [set, {name: gmp, update_every: [1, 2]}]
    sparsity: {from: 0.1, to: 0.9, step: 0.4}
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, [3]),
        ([1, [2, 3]], [1, 2, 3]),
        ({"a": [1, 2], "b": 3}, [{"a": 1, "b": 3}, {"a": 2, "b": 3}]),
        ({"a": [1, 2], "b": [3, 4]}, [{"a": a, "b": b} for a in (1, 2) for b in (3, 4)]),
        ([{"name": "x", "k": [1, 2]}, "y"], [{"name": "x", "k": 1}, {"name": "x", "k": 2}, "y"]),
        ({"from": 0.1, "to": 0.9, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ({"from": 1, "to": 5, "step": 2}, [1, 3, 5]),
        ({"recipe": {"milestones": [0.5, 0.75]}}, [{"recipe": {"milestones": [0.5, 0.75]}}]),
        (
            {"recipe": {"milestones": [[0.5], [0.5, 0.75]]}},
            [{"recipe": {"milestones": [0.5]}}, {"recipe": {"milestones": [0.5, 0.75]}}],
        ),
    ],
)
def test_expand(value: object, expected: list[object]) -> None:
    assert list(expand(value)) == expected


def test_merge_recurses_only_into_mappings() -> None:
    assert merge({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2]}) == {"a": {"x": 1, "y": 3}, "b": [2]}


def test_sweep_is_the_union_of_its_grids() -> None:
    trials = list(parse_sweep(SMALL, "small").trials.values())
    assert len(trials) == 2 + 2 * 3 * 3
    assert {trial.sparsity for trial in trials} == {0.0, 0.1, 0.5, 0.9}
    assert {trial.sparsifier.update_every for trial in trials if trial.sparsifier.name == "gmp"} == {1.0, 2.0}


def test_equal_trials_are_merged() -> None:
    duplicated = SMALL + "  - sparsifier: dense\n  - {sparsifier: set, sparsity: 0.5}\n"
    assert list(parse_sweep(duplicated, "small").trials) == list(parse_sweep(SMALL, "small").trials)


def test_dumped_sweep_has_the_same_trials() -> None:
    sweep = parse_sweep(SMALL, "small", ["recipe.epochs=5"])
    assert parse_sweep(sweep.dump(), "other").trials.keys() == sweep.trials.keys()
    assert parse_sweep(sweep.dump(), "other").name == "small"


@pytest.mark.parametrize(
    ("override", "count", "predicate"),
    [
        ("recipe.epochs=5", 20, lambda trial: trial.recipe.epochs == 5 and trial.recipe.batch_size == 32),
        ("seed=7", 10, lambda trial: trial.seed == 7),
        ("seed=[3,4,5]", 30, lambda trial: trial.seed in (3, 4, 5)),
        # The override applies only where the file sets sparsity. The dense grid keeps sparsity 0.
        ("sparsity=[.5,.8]", 14, lambda trial: trial.sparsity in (0, 0.5, 0.8)),
        ("data_ratio=.3", 20, lambda trial: trial.data_ratio == 0.3),
        ("recipe.milestones=[.4]", 20, lambda trial: trial.recipe.milestones == (0.4,)),
    ],
)
def test_overrides(override: str, count: int, predicate: object) -> None:
    trials = parse_sweep(SMALL, "small", [override]).trials.values()
    assert len(trials) == count
    assert all(predicate(trial) for trial in trials)  # type: ignore[operator]


def test_override_of_sweep_fields() -> None:
    assert parse_sweep(SMALL, "small", ["resources.cpus=2", "retries=0"]).resources.cpus == 2
    assert not parse_sweep(SMALL, "small", ["resources.execution.graphs=false"]).resources.execution.graphs
    former = parse_sweep(SMALL + "\nresources: {engine: {graphs: false}}\n", "small")
    assert not former.resources.execution.graphs, "engine is the name of execution before version 0.2.0"


def test_override_of_a_field_keeps_the_name_of_the_method() -> None:
    content = {"grids": [{"sparsifier": "set"}]}
    apply_override(content, "sparsifier.prune_rate=.5", Sweep.model_fields)
    assert content["grids"] == [{"sparsifier": {"name": "set", "prune_rate": 0.5}}]


MIXED = """
base: {dataset: digits, model: resnet8, recipe: digits, sparsity: [0.5, 0.8]}
grids:
  - {sparsifier: dense, sparsity: 0}
  - sparsifier: [snip, {name: set, update_every: 1}, rigl]
  - {sparsifier: {name: mest, update_every: 1}, sparsity: 0.9}
"""


def points(*overrides: str) -> list[tuple[str, float]]:
    trials = parse_sweep(MIXED, "mixed", overrides).trials.values()
    return [(trial.sparsifier.name, trial.sparsity) for trial in trials]


def test_sparsifier_override_replaces_all_methods_except_dense() -> None:
    assert points("sparsifier=random") == [("dense", 0), ("random", 0.5), ("random", 0.8), ("random", 0.9)]


def test_override_of_one_grid_keeps_the_others() -> None:
    assert points("grids.1.sparsifier=random") == [("dense", 0), ("random", 0.5), ("random", 0.8), ("mest", 0.9)]
    assert points("grids.2.sparsity=.7", "grids.1.sparsifier=snip")[-1] == ("mest", 0.7)
    assert points("grids.1.sparsity=[.1,.2,.3]", "grids.1.sparsifier=snip")[1:4] == [
        ("snip", 0.1),
        ("snip", 0.2),
        ("snip", 0.3),
    ]


def test_method_field_is_set_only_on_methods_with_this_field() -> None:
    trials = parse_sweep(MIXED, "mixed", ["sparsifier.prune_rate=.3"]).trials.values()
    rates = {trial.sparsifier.name: getattr(trial.sparsifier, "prune_rate", None) for trial in trials}
    assert rates == {"dense": None, "snip": None, "set": 0.3, "rigl": 0.3, "mest": 0.3}
    updated = parse_sweep(MIXED, "mixed", ["sparsifier.update_every=2"]).trials.values()
    assert {trial.sparsifier.update_every for trial in updated if trial.sparsifier.name == "set"} == {2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sparsifier.prune_rat=.3", "unknown field of any sparsifier here 'prune_rat' (did you mean prune_rate?)"),
        ("grids.3.sparsity=.5", "unknown grid. Write grids.N.FIELD with N from 0 to 2"),
        ("grids.x.sparsity=.5", "unknown grid. Write grids.N.FIELD with N from 0 to 2"),
        ("grids.1=.5", "unknown grid. Write grids.N.FIELD with N from 0 to 2"),
        ("grids.1.sparsit=.5", "unknown field 'sparsit' (did you mean sparsity?)"),
        ("model.layers=3", "unknown field of any model here 'layers'; choose from stem, width"),
    ],
)
def test_invalid_override_states_the_problem(override: str, message: str) -> None:
    with pytest.raises(SweepError) as error:
        parse_sweep(MIXED, "mixed", [override])
    assert str(error.value).startswith(f"--set {override}: {message}")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            ("sparsifier: dense", "sparsifier: sett"),
            r"sparsifier: unknown sparsifier 'sett.*choose from .*dense",
        ),
        (
            ("dataset: digits", "dataset: mnist"),
            r"dataset: unknown dataset 'mnist'; choose from arrays, .*digits",
        ),
        (("model: resnet8", "model: resnet9"), r"model: unknown model 'resnet9'.*choose from resnet18, .*resnet8"),
        (("recipe: digits", "difficulty: hard"), r"difficulty: unknown difficulty 'hard'; choose from .*el2n.*none"),
        (("recipe: digits", "recipe: {epocs: 3}"), r"recipe: unknown field 'epocs' \(did you mean epochs\?\)"),
        (("model: resnet8", "modl: resnet8"), r"unknown field 'modl' \(did you mean model\?\); choose from dataset"),
        (("sparsity: {from: 0.1, to: 0.9, step: 0.4}", "sparsity: 1.0"), r"sparsity: .*less than 1 \(got 1.0\)"),
        (("sparsity: {from: 0.1, to: 0.9, step: 0.4}", "sparsity: -.1"), r"sparsity: .*equal to 0 \(got -0\.1\)"),
        (("sparsity: {from: 0.1, to: 0.9, step: 0.4}", "sparsity: {from: 1, to: 0, step: 1}"), r"sparsity: a range"),
        (("recipe: digits", "data_ratio: 0"), r"data_ratio: .*greater than 0 \(got 0\)"),
        (("grids:", "grid:"), r"unknown field 'grid' \(did you mean grids\?\); choose from name"),
        (("grids:", "grids: ["), r"invalid YAML"),
        (
            ("step: 0.4", "step: 0.3"),
            r"sparsity: the last step is 0\.7, not the end of the range \(got .*Write to: 0\.7, or",
        ),
        (
            ("sparsity: {", "sparsity: 0.5\n    sparsity: {"),
            r"^small: line 7: .*'sparsity', see line 6\.",
        ),
        (("seed: [0, 1]", "seed: 0, seed: 1"), r"^small: line 2: duplicate key 'seed', see line 2"),
        (("step: 0.4", "step: .nan"), r"a range needs numbers"),
        (("sparsifier: dense", "{sparsifier: set}"), r"sparsity: set needs a value in \(0, 1\) \(got 0\)"),
        (("sparsifier: dense", "{sparsifier: dense, sparsity: .5}"), r"sparsity: must be 0 for 'dense' \(got 0\.5\)"),
        (
            ("recipe: digits", "recipe: digits, difficulty: el2n, data_ratio: .5, seed: []"),
            r"grids: no trials",
        ),
    ],
)
def test_invalid_sweeps_raise_one_line(edit: tuple[str, str], message: str) -> None:
    text = SMALL.replace(*edit)
    if "seed: []" in text:
        text = text.replace(", seed: [0, 1]", "")
    assert text != SMALL
    with pytest.raises(SweepError) as error:
        parse_sweep(text, "small")
    assert re.search(message, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_are_those_of_yaml_1_2() -> None:
    """010 means ten, and 1e-3 is a number in numeric fields."""
    text = SMALL.replace(
        "recipe: digits, seed: [0, 1]", "recipe: {preset: digits, lr: 1e-3}, seed: [08, 09, 010, 0x1F]"
    )
    trials = parse_sweep(text, "small", ["recipe.weight_decay=1e-4"]).trials.values()
    assert [trial.seed for trial in trials][:4] == [8, 9, 10, 31]
    assert {(trial.recipe.lr, trial.recipe.weight_decay) for trial in trials} == {(0.001, 0.0001)}


def test_yes_and_no_are_strings_accepted_as_booleans() -> None:
    text = SMALL.replace("recipe: digits", "recipe: {preset: digits, nesterov: no, flip: on}")
    assert {(trial.recipe.nesterov, trial.recipe.flip) for trial in parse_sweep(text, "no").trials.values()} == {
        (False, True)
    }
    assert parse_sweep("name: no\n" + SMALL, "small").name == "no"


def test_duplicate_key_in_an_override_raises() -> None:
    override = "sparsifier={name: set, prune_rate: .1, prune_rate: .2}"
    with pytest.raises(SweepError) as error:
        parse_sweep(SMALL, "small", [override])
    problem = "line 1: duplicate key 'prune_rate', see line 1. Remove one."
    assert str(error.value) == f"--set {override}: {problem}"


@pytest.mark.parametrize("override", ["recpe.epochs=5", "recipe.epocs=5", "seed", "=3", "recipe.epochs=[", "grids=1"])
def test_invalid_overrides_raise_one_line(override: str) -> None:
    with pytest.raises(SweepError) as error:
        parse_sweep(SMALL, "small", [override])
    assert "\n" not in str(error.value)


WITHOUT_UPDATES = [
    ("set", 3, "update_every: set never changes its masks in 3 epochs (got 4). Lower it, or raise recipe.epochs."),
    ("{name: rigl, update_every: 1}", 1, "update_every: rigl never changes its masks in 1 epochs (got 1). "),
    ("{name: mest, update_every: 2, stop_fraction: 0.4}", 4, "update_every: mest never changes its masks in 4 "),
    ("{name: bayesian_connectivity, update_interval: 99}", 1, "update_interval: bayesian_connectivity never changes "),
    ("{name: nm, update_every: 3}", 2, "update_every: nm never changes its masks in 2 epochs (got 3). Lower it"),
    ("{name: gmp, events: multiples}", 3, "events: no multiple of 4 epochs lies between steps "),
]


@pytest.mark.parametrize(("method", "epochs", "message"), WITHOUT_UPDATES)
def test_method_without_mask_updates_raises(method: str, epochs: int, message: str, tmp_path: Path) -> None:
    """SET without an update is a random mask, so its results would belong to another method."""
    text = f"base: {{dataset: digits, model: resnet8, recipe: {{preset: digits, epochs: {epochs}}}}}\n"
    (tmp_path / "idle.yaml").write_text(f"{text}grids: [{{sparsifier: {method}, sparsity: 0.5}}]")
    with pytest.raises(SweepError) as error:
        read_sweep(str(tmp_path / "idle.yaml"))
    assert str(error.value).startswith(f"idle: grids.0: sparsifier.{message}")
    assert len(read_sweep(str(tmp_path / "idle.yaml"), ["recipe.epochs=20"]).trials) == 1


def test_a_fixed_mask_needs_no_update(tmp_path: Path) -> None:
    text = "base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}\n"
    methods = "[random, snip, {name: nm, training: fixed, update_every: 9}, {name: set, update_every: 0.5}]"
    (tmp_path / "fixed.yaml").write_text(f"{text}grids: [{{sparsifier: {methods}, sparsity: 0.5}}]")
    assert len(read_sweep(str(tmp_path / "fixed.yaml")).trials) == 4


def test_stored_sweeps_are_parsed_without_checks() -> None:
    """Stored sweeps are only parsed, without the checks of ``read_sweep``, so that old results stay readable."""
    assert parse_sweep(
        "base: {dataset: digits, model: resnet8, recipe: {epochs: 1}}\ngrids: [{sparsifier: set, sparsity: .5}]", "x"
    )


def test_built_in_sweeps_have_names_and_descriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    small_imagefolder(tmp_path).rename(tmp_path / "cifar100-small")  # the folder that this sweep reads
    assert {"quickstart", "smoke"} <= built_in().keys()
    for name in built_in():
        sweep = read_sweep(name)
        assert sweep.name == name
        assert sweep.description


def test_trials_of_quickstart() -> None:
    trials = list(read_sweep("quickstart").trials.values())
    assert {trial.sparsifier.name for trial in trials} == {"dense", "random", "set", "snip", "gmp", "lth", "omp"}
    assert {trial.sparsity for trial in trials} == {0.0, 0.5, 0.8, 0.9}
    assert {trial.data_ratio for trial in trials} == {0.3}
    assert {trial.seed for trial in trials} == {0, 1, 2}
    assert {trial.difficulty.name for trial in trials} == {"el2n"}
    assert len(trials) == (6 * 3 + 1) * 3


@pytest.mark.parametrize(
    ("file", "overrides", "steps"),
    [
        ("recipe: digits", [], 1080),
        ("recipe: digits", ["recipe.epochs=2"], 28),
        ("recipe: {preset: digits, epochs: 5}", ["recipe.steps=100"], 100),
        ("recipe: {preset: digits, steps: 100}", ["recipe.epochs=2"], 28),
        ("recipe: [{preset: digits, steps: 100}, {preset: digits, epochs: 5}]", ["recipe.steps=50"], 50),
    ],
)
def test_overridden_length_replaces_the_other_unit(file: str, overrides: list[str], steps: int) -> None:
    text = f"base: {{dataset: digits, model: resnet8, data_ratio: 0.3, {file}}}\ngrids: [{{sparsifier: dense}}]"
    assert {trial.steps for trial in parse_sweep(text, "mine", overrides).trials.values()} == {steps}


def test_length_of_a_grid_replaces_the_length_of_the_base() -> None:
    text = """
        base: {dataset: digits, model: resnet8, sparsifier: dense, recipe: {preset: digits, epochs: 5}}
        grids: [{recipe: {steps: 100}}, {recipe: {lr: 0.01}}]
    """
    assert [trial.steps for trial in parse_sweep(text, "mine").trials.values()] == [100, 5 * 45]


def test_steps_with_epochs_raise() -> None:
    text = "base: {dataset: digits, model: resnet8, recipe: {steps: 9, epochs: 5}}\ngrids: [{sparsifier: dense}]"
    with pytest.raises(SweepError, match=r"recipe\.steps: steps and epochs disagree \(got steps 9 and epochs 5\)"):
        parse_sweep(text, "mine").trials  # noqa: B018


def test_unknown_sweep_error_lists_built_in_sweeps() -> None:
    with pytest.raises(SweepError, match=r"unknown sweep 'smoek' \(did you mean smoke\?\); choose from .*quickstart"):
        read_sweep("smoek")
