"""Every kind of run: what it leaves in a storage, whether it is finished, how it is opened."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.runs.base import Run, RunInputs
from sparsweep.trainables.runs.corruption import CorruptionRun
from sparsweep.trainables.runs.scoring import ScoringRun
from sparsweep.trainables.runs.trial import SnapshotRun, TrialRun
from sparsweep.trainables.specs.partial import ScoringSpec, SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store

RUN_TYPES: dict[type[RunSpec], Any] = {
    TrialSpec: TrialRun,
    SnapshotSpec: SnapshotRun,
    ScoringSpec: ScoringRun,
    CorruptionSpec: CorruptionRun,
}


def output_paths(spec: RunSpec, store: Store) -> tuple[str, ...]:
    """The files in ``store`` that a finished run of ``spec`` leaves behind."""
    return RUN_TYPES[type(spec)].output_paths(spec, store)


def is_finished(spec: RunSpec, store: Store) -> bool:
    """Whether ``spec`` was run to its end in this storage, by whomever."""
    whole = not isinstance(spec, TrialSpec) or store.is_finished(spec.id)
    return whole and all(store.exists(path) for path in output_paths(spec, store))


def open_run(spec: RunSpec, inputs: RunInputs, store: Store, sweep: str) -> Run:
    """The run of ``spec``, continued from its checkpoint if it has one."""
    return RUN_TYPES[type(spec)](spec, inputs, store, sweep)
