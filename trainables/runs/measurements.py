"""What a trained network leaves beside its row: outcomes of every sample, and results on other test images."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.runs.ood import ood_path, ood_row
from sparsweep.trainables.runs.outcomes import missing_splits, write_outcomes
from sparsweep.trainables.runs.shifts import mean_corruption_accuracy, shift_path, shift_rows
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.evaluation import Evaluator


def measurement_paths(trial: TrialSpec, store: Store) -> tuple[str, ...]:
    """Return the paths of what ``trial`` asks for: outcomes, one file per split; rows in ``shifts`` and ``ood``."""
    outcomes = [store.outcomes_path(trial.id, split) for split in trial.evaluation.outcomes]
    shifts = [shift_path(trial, store)] if trial.evaluation.corruptions else []
    return (*outcomes, *shifts, *(ood_path(trial, run, store) for run in trial.evaluation.ood_runs))


def write_measurements(evaluator: Evaluator, store: Store) -> dict[str, Any]:
    """Write everything that a trial asks for. Return its summaries: columns of the table ``trials``.

    Args:
        evaluator: Evaluator of the trained network.
        store: Storage of the run.
    """
    trial = evaluator.spec
    write_outcomes(evaluator, trial.evaluation.outcomes, store)
    shifts = shift_rows(evaluator, store)
    if shifts:
        store.write_rows("shifts", shift_path(trial, store), shifts)
    foreign: dict[str, Any] = {}
    for run in trial.evaluation.ood_runs:
        foreign = ood_row(evaluator, run, store)
        store.write_rows("ood", ood_path(trial, run, store), [foreign])
    return {
        "mean_corruption_accuracy": mean_corruption_accuracy(shifts),
        "ood_auroc_confidence": foreign.get("auroc_confidence"),
        "ood_auroc_energy": foreign.get("auroc_energy"),
    }


def write_missing(evaluator: Evaluator, store: Store) -> None:
    """Write what a finished trial asks for and the storage lacks.

    Args:
        evaluator: Evaluator of the trained network.
        store: Storage of the run.
    """
    trial = evaluator.spec
    write_outcomes(evaluator, missing_splits(trial, store), store)
    if trial.evaluation.corruptions and not store.exists(path := shift_path(trial, store)):
        store.write_rows("shifts", path, shift_rows(evaluator, store))
    for run in trial.evaluation.ood_runs:
        if not store.exists(path := ood_path(trial, run, store)):
            store.write_rows("ood", path, [ood_row(evaluator, run, store)])
