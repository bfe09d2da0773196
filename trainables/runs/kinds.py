"""Run types: their outputs, whether a run is finished, and how a run is opened."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.difficulties.shifts import CorruptedTestSpec, NewTestSpec, ReadShiftSpec
from sparsweep.trainables.runs.base import Run, RunInputs
from sparsweep.trainables.runs.corruption import CorruptionRun
from sparsweep.trainables.runs.evaluation import EvaluationRun
from sparsweep.trainables.runs.scoring import ScoringRun
from sparsweep.trainables.runs.shifts import ShiftRun
from sparsweep.trainables.runs.trial import SnapshotRun, TrialRun
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.specs.ood import OodImagesSpec
from sparsweep.trainables.specs.partial import ScoringSpec, SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store

RUN_TYPES: dict[type[RunSpec], Any] = {
    TrialSpec: TrialRun,
    SnapshotSpec: SnapshotRun,
    ScoringSpec: ScoringRun,
    CorruptionSpec: CorruptionRun,
    EvaluationSpec: EvaluationRun,
    CorruptedTestSpec: ShiftRun,
    ReadShiftSpec: ShiftRun,
    NewTestSpec: ShiftRun,
    OodImagesSpec: ShiftRun,
}


def output_paths(spec: RunSpec, store: Store) -> tuple[str, ...]:
    """Return the paths of the files in ``store`` that a finished run of ``spec`` writes.

    Args:
        spec: Spec of the run.
        store: Storage of the run.
    """
    return RUN_TYPES[type(spec)].output_paths(spec, store)


def is_finished(spec: RunSpec, store: Store) -> bool:
    """Return whether a run of ``spec`` is finished in this storage.

    Args:
        spec: Spec of the run.
        store: Storage of the run.
    """
    has_rows = not isinstance(spec, TrialSpec) or store.is_finished(spec.id)
    return has_rows and all(store.exists(path) for path in output_paths(spec, store))


def open_run(spec: RunSpec, inputs: RunInputs, store: Store, sweep: str) -> Run:
    """Open the run of ``spec``, from its checkpoint if there is one.

    Args:
        spec: Spec of the run.
        inputs: Inputs from the worker.
        store: Storage of the run.
        sweep: Name of the sweep that starts the run.
    """
    return RUN_TYPES[type(spec)](spec, inputs, store, sweep)
