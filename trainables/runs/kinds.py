"""Every kind of run: what it leaves in a storage, whether it is finished, how it is opened."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.difficulties.corruption import corrupt_dataset
from sparsweep.trainables.training.execution import StepRunnerCache
from sparsweep.trainables.runs.origins import code_of
from sparsweep.trainables.runs.prerequisites import read_outputs
from sparsweep.trainables.training.profiler import phase
from sparsweep.trainables.storage.provenance import Code, dump_code, merge_code, load_code
from sparsweep.trainables.runs.result_rows import epoch_rows, layer_rows, trial_row
from sparsweep.trainables.difficulties.scores.base import SCORES, ScoringContext
from sparsweep.trainables.runs.soundness import check_like, check_ranking, check_training, check_weights
from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.specs.partial import ScoringSpec, SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import DivergedError, EpochMetrics, Trainer


from sparsweep.trainables.runs.base import RunInputs, Progress, Run, TrainingRun
from sparsweep.trainables.runs.corruption import CorruptionRun
from sparsweep.trainables.runs.scoring import ScoringRun
from sparsweep.trainables.runs.trial import SnapshotRun, TrialRun


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
