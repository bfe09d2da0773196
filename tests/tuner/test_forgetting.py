"""Forgetting trials: because of changed code, by id or by a condition. Only their files are removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.analysis import load_trials
from sparsweep.trainables.storage import provenance, tables
from sparsweep.trainables.storage.provenance import load_code, loaded_code
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.result_tables import Remarks
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.forgetting import changed_trials, files_of, forget, runs_to_rerun
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.state import sweep_record

Runner = Callable[..., list[str]]
Command = Callable[..., tuple[int, str, str]]

TWO_TRIALS = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1, steps: null}}
grids:
  - {sparsifier: omp, sparsity: 0.5, difficulty: {name: el2n, runs: 1, epoch: 1}, data_ratio: 0.2}
  - {sparsifier: snip, sparsity: 0.5, data_ratio: 0.2}
"""


@pytest.fixture
def finished_sweep(tmp_path: Path, run_here: Runner) -> tuple[Sweep, Store]:
    """A finished sweep of two trials, one of which has two prerequisites."""
    sweep = parse_sweep(TWO_TRIALS, "two")
    store = Store(str(tmp_path))
    sweep_record.save_sweep(sweep, store)
    assert len(run_here(sweep)) == 4
    return sweep, store


@pytest.fixture
def change_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Function that changes the digest of the package source."""

    def edit() -> None:
        monkeypatch.setattr(provenance, "_digest_of", lambda module: "edited")
        loaded_code.cache_clear()

    loaded_code.cache_clear()
    yield edit  # type: ignore[misc]
    loaded_code.cache_clear()


def rows(store: Store, table: str) -> set[str]:
    return set(tables.read_table(store.storage, table, columns=["trial"])[0]["trial"].to_pylist())


def test_finished_sweep_has_no_changed_code(finished_sweep: tuple[Sweep, Store]) -> None:
    sweep, store = finished_sweep
    assert changed_trials(sweep.trials, store) == {}
    assert Remarks.on(sweep, store).code_lines() == []
    assert runs_to_rerun("changed", build_graph(sweep.trials), store) == []


def test_trials_of_changed_code_are_reported_and_rerun_with_prerequisites(
    finished_sweep: tuple[Sweep, Store], change_code: Callable[[], None], run_here: Runner
) -> None:
    sweep, store = finished_sweep
    before = load_trials(store.storage).set_index("trial")
    change_code()
    remarks = Remarks.on(sweep, store)
    (line,) = remarks.code_lines()
    assert line.startswith("  other code: 2 finished trials ran with different code in sparsweep")
    assert remarks.facts()["other_code"] == {"sparsweep": 2}
    graph = build_graph(sweep.trials)
    runs = runs_to_rerun("sparsweep", graph, store)
    assert set(runs) == set(graph.runs), "scoring and dense runs were also made with the changed code"
    forget(runs, store)
    assert compute_state(graph, store).todo == set(graph.runs)
    assert set(run_here(sweep)) == set(graph.runs)
    after = load_trials(store.storage).set_index("trial")
    assert all(load_code(text)["sparsweep"] == {loaded_code("sparsweep")} for text in after["code"])
    assert changed_trials(sweep.trials, store) == {}
    pd.testing.assert_series_equal(before["test_accuracy"].sort_index(), after["test_accuracy"].sort_index())


def test_rerun_by_id_runs_only_this_trial(finished_sweep: tuple[Sweep, Store], run_here: Runner) -> None:
    sweep, store = finished_sweep
    first, second = sweep.trials
    assert runs_to_rerun(first[:6], build_graph(sweep.trials), store) == [first]
    forget([first], store)
    assert store.finished() & sweep.trials.keys() == {second}
    assert run_here(sweep) == [first]


def test_rerun_of_an_unknown_name_raises(finished_sweep: tuple[Sweep, Store]) -> None:
    sweep, store = finished_sweep
    with pytest.raises(
        UsageError, match=r"--rerun their_module: neither a changed module \(none\) nor a unique id \(0 finished trials"
    ):
        runs_to_rerun("their_module", build_graph(sweep.trials), store)


def test_all_files_of_a_trial_and_no_others_are_removed(finished_sweep: tuple[Sweep, Store]) -> None:
    sweep, store = finished_sweep
    first, second = sweep.trials
    store.write_failure(first, "two", ValueError("earlier"))
    store.write_checkpoint(first, {})
    kept = {path for path in all_files(store) if first not in path}
    forget([first], store)
    assert {path for path in all_files(store) if not path.startswith("logs/")} == kept
    for table in ("trials", "epochs", "layers"):
        assert first not in rows(store, table) and second in rows(store, table)


def all_files(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in Path(store.root).rglob("*") if path.is_file()}


def test_row_of_a_finished_trial_is_deleted_first(finished_sweep: tuple[Sweep, Store]) -> None:
    sweep, store = finished_sweep
    for trial, paths in files_of(list(sweep.trials), store).items():
        assert paths[0] == store.result_path("trials", trial), (
            "the row is deleted first, so an interruption leaves an unfinished trial"
        )


def test_forget_lists_trials_and_removes_them_with_yes(finished_sweep: tuple[Sweep, Store], call: Command) -> None:
    sweep, store = finished_sweep
    (omp,) = [trial for trial, spec in sweep.trials.items() if spec.sparsifier.name == "omp"]
    storage_options = ("--storage", store.storage)
    code, out, _ = call("forget", "--where", "sparsifier == 'omp'", *storage_options)
    assert code == 0 and out.splitlines()[0] == omp and "--yes" in out
    assert store.is_finished(omp)
    assert call("forget", "--where", "sparsifier == 'omp'", "--yes", *storage_options)[0] == 0
    assert not store.is_finished(omp)
    assert json.loads(call("status", "two", "--json", *storage_options)[1])["pending"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "TRIAL, --where: exactly one is needed. Give trial ids"),
        (("--where", "nothing > 1"), "--where: cannot be applied (got 'nothing > 1')"),
        (("--where", "sparsity"), "--where: must be true or false for each trial"),
        (("abcdef0", "--where", "seed == 0"), "TRIAL, --where: exactly one is needed. Give trial ids"),
        (("zzz",), "TRIAL 'zzz': no finished or failed trial matches"),
    ],
)
def test_invalid_call_prints_one_line(
    arguments: tuple[str, ...], message: str, finished_sweep: tuple[Sweep, Store], call: Command
) -> None:
    code, _, err = call("forget", *arguments, "--storage", finished_sweep[1].storage)
    assert code == 2 and err.count("\n") == 1
    assert message in err


def test_folder_that_is_no_storage_is_not_changed(tmp_path: Path, call: Command) -> None:
    code, _, err = call("forget", "--where", "seed == 0", "--yes", "--storage", str(tmp_path / "photos"))
    assert code == 2 and "not a sparsweep storage" in err
