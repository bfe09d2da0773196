"""Which sweep a name means in a storage: the one that ran here, in all its editions, and no other one by chance."""

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
LONGER = FILE.replace("epochs: 1", "epochs: 2")
SEARCH = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
search: {space: {sparsifier: snip, sparsity: {from: 0.1, to: 0.9}}, objectives: {test_accuracy: maximize}}
"""


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def written(folder: Path, content: str, name: str = "mine") -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(content)
    return str(folder / f"{name}.yaml")


def run(path: str, storage: str, *overrides: str) -> Sweep:
    """What ``run`` does before anything is trained."""
    sweep, store = open_sweep(path, list(overrides), storage)
    sweep_record.save_sweep(sweep, store)
    return sweep


def seeds(sweep: Sweep) -> list[int]:
    return sorted(trial.seed for trial in sweep.trials.values())


@pytest.mark.parametrize("edited", [FILE.replace("[0, 1]", "[0, 1, 2]"), FILE.replace("[0, 1]", "[1]"), LONGER, SEARCH])
def test_an_edited_file_is_the_same_sweep(tmp_path: Path, storage: str, edited: str) -> None:
    run(written(tmp_path, FILE), storage)
    again = run(written(tmp_path, edited), storage)
    assert open_recorded_sweep("mine", [], storage)[0] == again


@pytest.mark.parametrize("edited", [FILE, FILE.replace("[0, 1]", "[0, 1, 2]"), FILE.replace("[0, 1]", "[1]")])
def test_a_file_that_moved_is_the_same_sweep_with_more_trials_or_fewer(
    tmp_path: Path, storage: str, edited: str
) -> None:
    """A clone elsewhere, or the folder that a cluster's job runs in."""
    run(written(tmp_path / "here", FILE), storage)
    moved = run(written(tmp_path / "there", edited), storage)
    assert seeds(open_recorded_sweep("mine", [], storage)[0]) == seeds(moved)


@pytest.mark.parametrize(("first", "second"), [(FILE, LONGER), (FILE, SEARCH), (SEARCH, FILE)])
@pytest.mark.parametrize("open_it", [open_sweep, open_sweep_as_run])
def test_another_file_of_that_name_is_refused(
    tmp_path: Path, storage: str, first: str, second: str, open_it: Callable[..., object]
) -> None:
    here, there = written(tmp_path / "here", first), written(tmp_path / "there", second)
    recorded = run(here, storage)
    problem = f"SWEEP mine: another sweep of this name ran here (from {here}, got {there}). "
    with pytest.raises(UsageError, match=re.escape(problem) + "Rename one: --set name=mine-2"):
        open_it(there, [], storage)
    assert open_recorded_sweep("mine", [], storage)[0] == recorded


def test_a_name_settles_which_one_is_meant(tmp_path: Path, storage: str) -> None:
    run(written(tmp_path / "here", FILE), storage)
    there = written(tmp_path / "there", LONGER)
    assert run(there, storage, "name=mine-2").name == "mine-2"
    assert open_recorded_sweep("mine", [], storage)[0].base["recipe"]["epochs"] == 1
    written(tmp_path / "there", f"name: mine\n{LONGER}")
    run(there, storage)
    assert open_recorded_sweep("mine", [], storage)[0].base["recipe"]["epochs"] == 2


def test_a_file_does_not_take_the_name_of_a_built_in_sweep(tmp_path: Path, storage: str) -> None:
    run("smoke", storage)
    with pytest.raises(UsageError, match=r"\(from built-in, got .*smoke.yaml\)"):
        run(written(tmp_path, FILE, "smoke"), storage)


def test_a_record_of_an_earlier_version_is_taken_as_before(tmp_path: Path, storage: str) -> None:
    earlier = run(written(tmp_path / "here", FILE), storage).model_copy(update={"source": None})
    sweep_record.save_sweep(earlier, Store(storage))
    assert run(written(tmp_path / "there", LONGER), storage).base["recipe"]["epochs"] == 2


def test_a_damaged_record_is_replaced(tmp_path: Path, storage: str) -> None:
    path = written(tmp_path, FILE)
    run(path, storage)
    Store(storage).write("sweeps/mine/sweep.yaml", b"\xff: [")
    run(path, storage)
    assert seeds(open_recorded_sweep("mine", [], storage)[0]) == [0, 1]


@pytest.mark.parametrize("name", ["paper", "quickstart"])
def test_resume_of_a_sweep_that_never_ran_here_asks_for_run(name: str, storage: str) -> None:
    start = f"sparsweep run {name} --storage {storage}"
    with pytest.raises(UsageError, match=f"^SWEEP {name}: never run in {storage}. Start it: {start}$"):
        open_recorded_sweep(name, [], storage)
    assert not Path(storage).exists()


def test_resume_goes_on_after_a_driver_that_died_before_it_recorded_the_sweep(storage: str) -> None:
    Lease("smoke", Store(storage), print).acquire()
    assert open_recorded_sweep("smoke", [], storage)[0].name == "smoke"
