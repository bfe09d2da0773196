"""Evaluations: outcomes that finished trials lack are made from their weights, without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sparsweep.analysis.load import load_shifts
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.result_tables import results_of
from sparsweep.tuner.cli.status_view import format_status
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.planning.forgetting import files_of
from sparsweep.tuner.planning.gc import find_unused
from sparsweep.tuner.planning.graph import SweepState, build_graph, compute_state
from sparsweep.tuner.planning.repair import remove_damaged_measurements
from sparsweep.tuner.planning.status import sweep_status, trial_details

Runner = Callable[..., list[str]]


@pytest.fixture
def store(small: Sweep, run_here: Runner, tmp_path: Path) -> Store:
    """Storage with the finished small sweep."""
    run_here(small)
    return Store(str(tmp_path))


def outcome_bytes(store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(store.root, "results/outcomes").iterdir()}


def state_of(sweep: Sweep, store: Store) -> SweepState:
    return compute_state(build_graph(sweep.trials), store)


def test_a_finished_trial_has_its_outcomes(small: Sweep, store: Store) -> None:
    assert set(outcome_bytes(store)) == {f"{trial}-test.parquet" for trial in small.trials}
    assert state_of(small, store).todo == set()
    assert sweep_status(small, store)["evaluations"] == 0


def test_missing_outcomes_are_evaluated(small: Sweep, store: Store, run_here: Runner) -> None:
    before = outcome_bytes(store)
    lost = list(small.trials)[3]
    store.delete(store.outcomes_path(lost, "test"))
    state = state_of(small, store)
    (run,) = state.todo
    spec = state.graph.runs[run]
    assert isinstance(spec, EvaluationSpec) and spec.trial.id == lost
    assert run not in state.graph.trials and run not in state.graph.prerequisite_runs
    status = sweep_status(small, store)
    assert status["done"] == status["trials"] == len(small.trials)
    assert "  1 finished trials lack outcomes. Evaluate their weights: sparsweep resume small" in format_status(status)
    assert run_here(small) == [run]
    assert outcome_bytes(store) == before and run_here(small) == []


def test_more_splits_are_added_without_training(small: Sweep, store: Store, run_here: Runner) -> None:
    before, rows = outcome_bytes(store), Path(store.root, "results/trials").stat().st_mtime_ns
    more = parse_sweep(small.dump().replace("base:\n", "base:\n  evaluation: {outcomes: [test, train]}\n"), "more")
    assert more.trials.keys() == small.trials.keys()
    evaluated = run_here(more)
    assert len(evaluated) == len(small.trials) and not set(evaluated) & set(small.trials)
    after = outcome_bytes(store)
    assert after.items() >= before.items() and len(after) == 2 * len(before)
    assert Path(store.root, "results/trials").stat().st_mtime_ns == rows


def test_selected_training_samples_need_their_scores(small: Sweep, store: Store, run_here: Runner) -> None:
    """The scores were removed: the scoring runs are repeated for the outcomes on training samples, and nothing else."""
    scores = [f"artifacts/scores/{name}.parquet" for name in store.artifacts("scores")]
    for path in scores:
        store.delete(path)
    store.delete(store.outcomes_path(next(iter(small.trials)), "test"))
    state = state_of(small, store)
    kinds = sorted(type(state.graph.runs[run]).__name__ for run in state.todo)
    assert kinds == ["EvaluationSpec", "ScoringSpec", "ScoringSpec"]
    assert len(run_here(small)) == 3 and state_of(small, store).todo == set()


def test_without_weights_nothing_is_due(small: Sweep, store: Store, run_here: Runner) -> None:
    """Tables of an earlier version have no outcomes: they are read as none, and no trial is trained again."""
    for trial in small.trials:
        store.delete(store.outcomes_path(trial, "test"))
        store.delete(store.artifact_path("weights", trial))
    assert state_of(small, store).todo == set() and run_here(small) == []


def test_weights_are_needed_until_their_outcomes_exist(small: Sweep, store: Store) -> None:
    trial = next(iter(small.trials))
    store.delete(store.outcomes_path(trial, "test"))
    unused = find_unused([small], store, ("weights",)).files["weights"]
    assert set(unused) == {store.artifact_path("weights", other) for other in small.trials if other != trial}


@pytest.mark.parametrize("damage", ["truncated", "changed byte", "empty", "copy of another", "of another split"])
def test_damaged_outcomes_are_removed_by_name(small: Sweep, store: Store, run_here: Runner, damage: str) -> None:
    trial, other = list(small.trials)[:2]
    before = outcome_bytes(store)
    path = Path(store.root, store.outcomes_path(trial, "test"))
    content = path.read_bytes()
    name = f"{trial}-test"
    if damage == "of another split":
        name = f"{trial}-clean"
        path = path.with_name(f"{name}.parquet")
    changed = {
        "truncated": content[:-100],
        "changed byte": content[:300] + bytes([content[300] ^ 1]) + content[301:],
        "empty": b"",
        "copy of another": before[f"{other}-test.parquet"],
        "of another split": content,
    }[damage]
    path.write_bytes(changed)
    assert (
        remove_damaged_measurements(small.trials, store) == [f"results/outcomes/{name}.parquet"] and not path.exists()
    )
    run_here(small)
    assert outcome_bytes(store) == before and remove_damaged_measurements(small.trials, store) == []


def test_the_files_of_a_trial_include_its_outcomes(small: Sweep, store: Store) -> None:
    trial = next(iter(small.trials))
    files = trial_details(trial, store)["files"]
    assert files["outcomes test"] == store.uri(store.outcomes_path(trial, "test"))
    assert set(files) == {"trials", "epochs", "layers", "weights", "outcomes test"}


def test_a_rerun_removes_outcomes(small: Sweep, store: Store) -> None:
    trial = next(iter(small.trials))
    assert store.outcomes_path(trial, "test") in files_of([trial], store)[trial]


def test_outcomes_are_a_list_and_not_a_grid() -> None:
    text = "base: {dataset: digits, model: resnet8, sparsifier: dense, evaluation: {outcomes: [test, train]}}\n"
    (trial,) = parse_sweep(text + "grids: [{seed: 0}]", "one").trials.values()
    assert trial.evaluation.outcomes == ("test", "train")


def test_a_search_loads_the_foreign_data_set_of_its_trials() -> None:
    text = """
base: {dataset: cifar10, model: resnet18, evaluation: {ood: cifar100}, recipe: {preset: paper, epochs: 200}}
search:
  space: {sparsifier: [set, snip], sparsity: {from: 0.1, to: 0.9, step: 0.1}}
  objectives: {test_accuracy: maximize}
  trials: 3
"""
    sweep = parse_sweep(text, "foreign")
    assert [dataset.name for dataset in sweep.candidate_datasets] == ["cifar10", "cifar100"]


def test_results_have_the_summary_of_a_later_evaluation(run_here: Runner, tmp_path: Path) -> None:
    base = "base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}\n"
    grids = "grids: [{sparsifier: dense}]\n"
    corrupted = base.replace(
        "data_ratio", "evaluation: {corruptions: {types: [contrast], severities: [1, 5]}}, data_ratio"
    )
    plain, more = parse_sweep(base + grids, "plain"), parse_sweep(corrupted + grids, "more")
    assert plain.trials.keys() == more.trials.keys()
    run_here(plain)
    store = Store(str(tmp_path))
    assert results_of([plain], store).trials["mean_corruption_accuracy"].isna().all()
    run_here(more)
    (summary,) = results_of([more], store).trials["mean_corruption_accuracy"]
    assert summary == pytest.approx(load_shifts(store.storage)["accuracy"].mean())
    assert results_of([plain], store).trials["mean_corruption_accuracy"].isna().all()  # it did not ask for it
