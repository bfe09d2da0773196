"""The digits sweeps behind the tables in the README cover all registered methods and difficulties."""

from __future__ import annotations

from sparsweep.trainables.difficulties.composed import Composed
from sparsweep.tuner.config.sweep import read_sweep
from support.contract_settings import DIFFICULTY_NAMES, SPARSIFIER_NAMES

SEEDS = {0, 1, 2}


def test_every_sparsifier_runs_at_four_sparsities() -> None:
    """Exceptions: ``static`` needs a mask file, which no built-in sweep contains. 2:4 masks have one sparsity."""
    trials = list(read_sweep("all-sparsifiers").trials.values())
    assert {trial.sparsifier.name for trial in trials} == set(SPARSIFIER_NAMES) - {"static"}
    assert {(trial.dataset.name, trial.difficulty.name, trial.data_ratio) for trial in trials} == {
        ("digits", "el2n", 0.3)
    }
    for trial in trials:
        arm = [other for other in trials if other.sparsifier.name == trial.sparsifier.name]
        assert {other.seed for other in arm} == SEEDS
        sparsities = {"dense": {0.0}, "nm": {0.5}}.get(trial.sparsifier.name, {0.5, 0.8, 0.9, 0.95})
        assert {other.sparsity for other in arm} == sparsities


def test_every_difficulty_runs_with_dense_and_set() -> None:
    """Exception: ``scores`` needs a score file. The composed difficulty has a selection, images and an attack."""
    trials = list(read_sweep("hard-digits").trials.values())
    arms = {(trial.difficulty.name, trial.sparsifier.name, trial.seed) for trial in trials}
    assert arms == {
        (name, sparsifier, seed)
        for name in set(DIFFICULTY_NAMES) - {"scores"}
        for sparsifier in ("dense", "set")
        for seed in SEEDS
    }
    composed_parts = {tuple(trial.difficulty.parts) for trial in trials if isinstance(trial.difficulty, Composed)}
    assert composed_parts == {("selection", "images", "attack")}
