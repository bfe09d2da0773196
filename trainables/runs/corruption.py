"""Runs that leave corrupted images."""

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


class CorruptionRun(Run):
    """A data set under corruption: it leaves the images."""

    def __init__(self, spec: CorruptionSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.spec, self.inputs, self.store = spec, inputs, store
        self.progress = Progress(0, spec.num_epochs, None)

    @staticmethod
    def output_paths(spec: CorruptionSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("corrupted", spec.id),)

    def run_for(self, seconds: float) -> Progress:
        self.store.write_corrupted(self.spec.id, corrupt_dataset(self.inputs.load_images(), self.spec))
        self.progress = Progress(self.spec.num_epochs, self.spec.num_epochs, None)
        return self.progress
