"""Sweep names in a storage: a name belongs to the sweep that ran first, also after edits of its file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.session import open_recorded_sweep, open_sweep, open_sweep_as_run
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.state import sweep_record
from sparsweep.tuner.state.driver_lease import Lease

FILE = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense, seed: [0, 1]}]
"""
MORE_EPOCHS = FILE.replace("epochs: 1", "epochs: 2")
SEARCH = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
search: {space: {sparsifier: snip, sparsity: {from: 0.1, to: 0.9}}, objectives: {test_accuracy: maximize}}
"""


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def write_file(folder: Path, content: str, name: str = "mine") -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(content)
    return str(folder / f"{name}.yaml")


def run(path: str, storage: str, *overrides: str) -> Sweep:
    """Open and record a sweep, as ``run`` does before training."""
    sweep, store = open_sweep(path, list(overrides), storage)
    sweep_record.save_sweep(sweep, store)
    return sweep


def seeds(sweep: Sweep) -> list[int]:
    return sorted(trial.seed for trial in sweep.trials.values())


@pytest.mark.parametrize(
    "edited", [FILE.replace("[0, 1]", "[0, 1, 2]"), FILE.replace("[0, 1]", "[1]"), MORE_EPOCHS, SEARCH]
)
def test_edited_file_is_the_same_sweep(tmp_path: Path, storage: str, edited: str) -> None:
    run(write_file(tmp_path, FILE), storage)
    reopened = run(write_file(tmp_path, edited), storage)
    assert open_recorded_sweep("mine", [], storage)[0] == reopened


@pytest.mark.parametrize("edited", [FILE, FILE.replace("[0, 1]", "[0, 1, 2]"), FILE.replace("[0, 1]", "[1]")])
def test_moved_file_is_the_same_sweep_with_more_or_fewer_trials(tmp_path: Path, storage: str, edited: str) -> None:
    """Examples: a clone in another folder, or the working folder of a cluster job."""
    run(write_file(tmp_path / "here", FILE), storage)
    moved = run(write_file(tmp_path / "there", edited), storage)
    assert seeds(open_recorded_sweep("mine", [], storage)[0]) == seeds(moved)


@pytest.mark.parametrize(("first", "second"), [(FILE, MORE_EPOCHS), (FILE, SEARCH), (SEARCH, FILE)])
@pytest.mark.parametrize("open_function", [open_sweep, open_sweep_as_run])
def test_other_file_of_the_same_name_raises(
    tmp_path: Path, storage: str, first: str, second: str, open_function: Callable[..., object]
) -> None:
    first_path, second_path = write_file(tmp_path / "here", first), write_file(tmp_path / "there", second)
    recorded = run(first_path, storage)
    problem = f"SWEEP mine: another sweep of this name ran here (from {first_path}, got {second_path}). "
    with pytest.raises(UsageError, match=re.escape(problem) + "Rename one: --set name=mine-2"):
        open_function(second_path, [], storage)
    assert open_recorded_sweep("mine", [], storage)[0] == recorded


def test_name_option_or_field_resolves_a_name_conflict(tmp_path: Path, storage: str) -> None:
    run(write_file(tmp_path / "here", FILE), storage)
    second_path = write_file(tmp_path / "there", MORE_EPOCHS)
    assert run(second_path, storage, "name=mine-2").name == "mine-2"
    assert open_recorded_sweep("mine", [], storage)[0].base["recipe"]["epochs"] == 1
    write_file(tmp_path / "there", f"name: mine\n{MORE_EPOCHS}")
    run(second_path, storage)
    assert open_recorded_sweep("mine", [], storage)[0].base["recipe"]["epochs"] == 2


def test_file_with_the_name_of_a_recorded_built_in_sweep_raises(tmp_path: Path, storage: str) -> None:
    run("smoke", storage)
    with pytest.raises(UsageError, match=r"\(from built-in, got .*smoke.yaml\)"):
        run(write_file(tmp_path, FILE, "smoke"), storage)


def test_record_of_an_earlier_version_is_accepted(tmp_path: Path, storage: str) -> None:
    earlier = run(write_file(tmp_path / "here", FILE), storage).model_copy(update={"source": None})
    sweep_record.save_sweep(earlier, Store(storage))
    assert run(write_file(tmp_path / "there", MORE_EPOCHS), storage).base["recipe"]["epochs"] == 2


def test_damaged_record_is_replaced(tmp_path: Path, storage: str) -> None:
    path = write_file(tmp_path, FILE)
    run(path, storage)
    Store(storage).write("sweeps/mine/sweep.yaml", b"\xff: [")
    run(path, storage)
    assert seeds(open_recorded_sweep("mine", [], storage)[0]) == [0, 1]


@pytest.mark.parametrize("name", ["paper", "quickstart"])
def test_resume_of_a_sweep_never_run_here_raises(name: str, storage: str) -> None:
    start = f"sparsweep run {name} --storage {storage}"
    with pytest.raises(UsageError, match=f"^SWEEP {name}: never run in {storage}. Start it: {start}$"):
        open_recorded_sweep(name, [], storage)
    assert not Path(storage).exists()


def test_resume_continues_if_the_driver_died_before_recording_the_sweep(storage: str) -> None:
    Lease("smoke", Store(storage), print).acquire()
    assert open_recorded_sweep("smoke", [], storage)[0].name == "smoke"
