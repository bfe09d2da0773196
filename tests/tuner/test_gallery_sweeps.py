"""The sweeps on digits whose tables stand in the README: they leave out nothing that is registered."""

from __future__ import annotations

from sparsweep.trainables.difficulties.composed import Composed
from sparsweep.tuner.config.sweep import read_sweep
from support.contract_settings import DIFFICULTY_NAMES, SPARSIFIER_NAMES

THREE = {0, 1, 2}


def test_every_sparsifier_is_run_at_four_sparsities() -> None:
    """``static`` alone needs a file that no sweep can bring, and 2:4 has one sparsity."""
    trials = list(read_sweep("all-sparsifiers").trials.values())
    assert {trial.sparsifier.name for trial in trials} == set(SPARSIFIER_NAMES) - {"static"}
    assert {(trial.dataset.name, trial.difficulty.name, trial.data_ratio) for trial in trials} == {
        ("digits", "el2n", 0.3)
    }
    for trial in trials:
        arm = [other for other in trials if other.sparsifier.name == trial.sparsifier.name]
        assert {other.seed for other in arm} == THREE
        sparsities = {"dense": {0.0}, "nm": {0.5}}.get(trial.sparsifier.name, {0.5, 0.8, 0.9, 0.95})
        assert {other.sparsity for other in arm} == sparsities


def test_every_difficulty_is_run_with_dense_and_set() -> None:
    """``scores`` alone needs a file that no sweep can bring; the composed one has a selection, images and an attack."""
    trials = list(read_sweep("hard-digits").trials.values())
    arms = {(trial.difficulty.name, trial.sparsifier.name, trial.seed) for trial in trials}
    assert arms == {
        (name, sparsifier, seed)
        for name in set(DIFFICULTY_NAMES) - {"scores"}
        for sparsifier in ("dense", "set")
        for seed in THREE
    }
    stages = {tuple(trial.difficulty.parts) for trial in trials if isinstance(trial.difficulty, Composed)}
    assert stages == {("selection", "images", "attack")}
