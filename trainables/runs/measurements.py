"""What a trained network leaves beside its row: outcomes of every sample, and accuracies on shifted test images."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.runs.outcomes import missing_splits, write_outcomes
from sparsweep.trainables.runs.shifts import shift_path, shift_rows
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.evaluation import Evaluator


def measurement_paths(trial: TrialSpec, store: Store) -> tuple[str, ...]:
    """Return the paths of the outcomes that ``trial`` asks for, one per split, and of its rows in ``shifts``."""
    outcomes = tuple(store.outcomes_path(trial.id, split) for split in trial.evaluation.outcomes)
    return (*outcomes, shift_path(trial, store)) if trial.evaluation.corruptions else outcomes


def write_measurements(evaluator: Evaluator, store: Store) -> list[dict[str, Any]]:
    """Write everything that a trial asks for. Return its rows in ``shifts``.

    Args:
        evaluator: Evaluator of the trained network.
        store: Storage of the run.
    """
    trial = evaluator.spec
    write_outcomes(evaluator, trial.evaluation.outcomes, store)
    rows = shift_rows(evaluator, store)
    if rows:
        store.write_shifts(shift_path(trial, store), rows)
    return rows


def write_missing(evaluator: Evaluator, store: Store) -> None:
    """Write what a finished trial asks for and the storage lacks.

    Args:
        evaluator: Evaluator of the trained network.
        store: Storage of the run.
    """
    trial = evaluator.spec
    write_outcomes(evaluator, missing_splits(trial, store), store)
    if trial.evaluation.corruptions and not store.exists(path := shift_path(trial, store)):
        store.write_shifts(path, shift_rows(evaluator, store))
