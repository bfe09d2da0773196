"""Which trials belong to a sweep: written by its runs, read from Parquet and by the loaders."""

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
MINE = BASE + "grids: [{sparsifier: dense}, {sparsifier: set, sparsity: 0.5}]"
YOURS = BASE + "grids: [{sparsifier: dense}, {sparsifier: snip, sparsity: 0.5}]"


def ran(text: str, name: str, store: Store) -> Sweep:
    """A sweep whose trials are finished, as a run leaves it that had nothing to do."""
    sweep = parse_sweep(text, name)
    write_results(store, sweep)
    run_unless_idle(
        RunOptions(sweep, store, "local", []), compute_state(build_graph(sweep.trials), store), {}, idle=True
    )
    return sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def test_a_shared_trial_belongs_to_both_sweeps(store: Store) -> None:
    mine, yours = ran(MINE, "mine", store), ran(YOURS, "yours", store)
    shared = mine.trials.keys() & yours.trials.keys()
    assert len(shared) == 2
    everything = load_trials(store.storage)
    assert set(everything.loc[everything["trial"].isin(shared), "sweep"]) == {"mine"}  # who trained it first
    assert set(load_trials(store.storage, sweep="yours")["trial"]) == yours.trials.keys()
    assert set(load_trials(store.storage, sweep="mine")["trial"]) == mine.trials.keys()


def test_it_is_plain_parquet(store: Store) -> None:
    sweep = ran(MINE, "mine", store)
    members = pd.read_parquet(Path(store.root, "results/memberships"))
    assert members.columns.tolist() == ["trial", "sweep"]
    assert set(members["trial"]) == sweep.trials.keys() and set(members["sweep"]) == {"mine"}


def test_what_a_sweep_no_longer_names_no_longer_belongs_to_it(store: Store) -> None:
    ran(MINE, "mine", store)
    fewer = ran(MINE.replace("[0, 1]", "[0]"), "mine", store)
    assert set(load_trials(store.storage, sweep="mine")["trial"]) == fewer.trials.keys()


def test_a_sweep_and_other_conditions_are_both_met(store: Store) -> None:
    sweep = ran(MINE, "mine", store)
    found = load_trials(store.storage, sweep="mine", filters=("sparsity", ">", 0.0))
    assert len(found) == 2
    one = next(iter(sweep.trials))
    assert load_trials(store.storage, trials=one, sweep="mine")["trial"].tolist() == [one]
    assert set(load_epochs(store.storage, sweep="mine")["trial"]) == set(sweep.trials)


def test_a_sweep_that_was_not_run_here_names_the_choices(store: Store) -> None:
    with pytest.raises(ValueError, match=r"^sweep: no sweep of that name .* \(got 'mine'\)\. .*: none yet\.$"):
        load_trials(store.storage, sweep="mine")
    ran(MINE, "mine", store)
    with pytest.raises(ValueError, match=r"Choose from: mine\.$"):
        load_trials(store.storage, sweep="yours")


def test_it_is_not_written_again_unless_it_differs(store: Store) -> None:
    ran(MINE, "mine", store)
    path = Path(store.root, "results/memberships/mine.parquet")
    before = path.stat().st_mtime_ns
    ran(MINE, "mine", store)
    assert path.stat().st_mtime_ns == before
    ran(MINE.replace("[0, 1]", "[0]"), "mine", store)
    assert path.stat().st_mtime_ns > before


def test_a_sweep_named_like_a_trial_is_read_too(store: Store) -> None:
    sweep = ran(MINE, "0123456789abcdef", store)
    assert set(load_trials(store.storage, sweep="0123456789abcdef")["trial"]) == sweep.trials.keys()
