"""Memberships of trials in sweeps: written by runs, read from Parquet and by the loaders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sparsweep.analysis import load_epochs, load_trials
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.run import run_unless_idle
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.planning.graph import build_graph, compute_state
from support.fake_results import write_results

BASE = "base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, seed: [0, 1]}\n"
FIRST = BASE + "grids: [{sparsifier: dense}, {sparsifier: set, sparsity: 0.5}]"
SECOND = BASE + "grids: [{sparsifier: dense}, {sparsifier: snip, sparsity: 0.5}]"


def run_finished(text: str, name: str, store: Store) -> Sweep:
    """Write results of a sweep and run the sweep, which then has nothing to train."""
    sweep = parse_sweep(text, name)
    write_results(store, sweep)
    run_unless_idle(
        RunOptions(sweep, store, "local", []), compute_state(build_graph(sweep.trials), store), {}, idle=True
    )
    return sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def test_shared_trial_belongs_to_both_sweeps(store: Store) -> None:
    first, second = run_finished(FIRST, "mine", store), run_finished(SECOND, "yours", store)
    shared = first.trials.keys() & second.trials.keys()
    assert len(shared) == 2
    trials = load_trials(store.storage)
    assert set(trials.loc[trials["trial"].isin(shared), "sweep"]) == {"mine"}  # the sweep that trained the trial first
    assert set(load_trials(store.storage, sweep="yours")["trial"]) == second.trials.keys()
    assert set(load_trials(store.storage, sweep="mine")["trial"]) == first.trials.keys()


def test_memberships_are_plain_parquet(store: Store) -> None:
    sweep = run_finished(FIRST, "mine", store)
    members = pd.read_parquet(Path(store.root, "results/memberships"))
    assert members.columns.tolist() == ["trial", "sweep"]
    assert set(members["trial"]) == sweep.trials.keys() and set(members["sweep"]) == {"mine"}


def test_trials_removed_from_a_sweep_are_no_longer_members(store: Store) -> None:
    run_finished(FIRST, "mine", store)
    reduced = run_finished(FIRST.replace("[0, 1]", "[0]"), "mine", store)
    assert set(load_trials(store.storage, sweep="mine")["trial"]) == reduced.trials.keys()


def test_sweep_filter_combines_with_other_filters(store: Store) -> None:
    sweep = run_finished(FIRST, "mine", store)
    trials = load_trials(store.storage, sweep="mine", filters=("sparsity", ">", 0.0))
    assert len(trials) == 2
    trial = next(iter(sweep.trials))
    assert load_trials(store.storage, trials=trial, sweep="mine")["trial"].tolist() == [trial]
    assert set(load_epochs(store.storage, sweep="mine")["trial"]) == set(sweep.trials)


def test_unknown_sweep_error_lists_the_choices(store: Store) -> None:
    with pytest.raises(ValueError, match=r"^sweep: no sweep of that name .* \(got 'mine'\)\. .*: none yet\.$"):
        load_trials(store.storage, sweep="mine")
    run_finished(FIRST, "mine", store)
    with pytest.raises(ValueError, match=r"Choose from: mine\.$"):
        load_trials(store.storage, sweep="yours")


def test_memberships_are_rewritten_only_if_changed(store: Store) -> None:
    run_finished(FIRST, "mine", store)
    path = Path(store.root, "results/memberships/mine.parquet")
    before = path.stat().st_mtime_ns
    run_finished(FIRST, "mine", store)
    assert path.stat().st_mtime_ns == before
    run_finished(FIRST.replace("[0, 1]", "[0]"), "mine", store)
    assert path.stat().st_mtime_ns > before


def test_sweep_named_like_a_trial_id_is_read(store: Store) -> None:
    sweep = run_finished(FIRST, "0123456789abcdef", store)
    assert set(load_trials(store.storage, sweep="0123456789abcdef")["trial"]) == sweep.trials.keys()
