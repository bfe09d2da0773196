"""Runs that leave scores of training samples."""

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


class ScoringRun(TrainingRun):
    """The first epochs of a dense trial on the whole training set: it leaves scores of every sample."""

    spec: ScoringSpec

    def __init__(self, spec: ScoringSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        def nothing(parent: RunSpec) -> dict[str, torch.Tensor]:
            raise LookupError(f"a dense trial has no prerequisite, asked for {parent}")

        data = inputs.device_data(spec.trial)
        # What trials may have used already is never written a second time.
        missing = [name for name in spec.scores if not store.exists(store.scores_path(spec.id, name))]
        self.scores = {name: SCORES[name](data) for name in missing}
        indices = torch.arange(len(data.train_labels))
        super().__init__(spec, Trainer(spec.trial, data, indices, nothing, inputs.runner_cache), store, sweep)

    @staticmethod
    def output_paths(spec: ScoringSpec, store: Store) -> tuple[str, ...]:
        return tuple(store.scores_path(spec.id, score) for score in spec.scores)

    def train_epoch(self) -> None:
        super().train_epoch()
        training = self.training
        self.view = ScoringContext(training.epoch, training.data, training.network, training.batches.batch_size)
        for score in self.scores.values():
            score.on_epoch_end(self.view)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "scores": {name: score.state for name, score in self.scores.items()}}

    def check(self, state: Any) -> None:
        super().check(state)
        if not isinstance(state.get("scores"), dict):
            raise CorruptFileError("its scores have other parts")
        for name in self.scores.keys() & state["scores"].keys():
            check_like(state["scores"][name], self.scores[name].state, f"scores.{name}")

    def restore(self, state: dict[str, Any]) -> None:
        if not set(self.scores) <= set(state["scores"]):
            return  # begun without a score that may have to follow every epoch: it starts again
        super().restore(state)
        for name, score in self.scores.items():
            score.state = {key: value.to(self.training.device) for key, value in state["scores"][name].items()}

    def finish(self) -> None:
        labels = self.training.data.train_labels.cpu().numpy()
        for name, score in self.scores.items():
            values = score.compute(self.view)
            try:
                check_ranking(values.cpu().numpy())
            except CorruptFileError as error:
                raise DivergedError(f"{name} is of no use: {error}") from None
            self.store.write_scores(self.spec.id, name, labels, values.cpu().numpy(), dump_code(self.code))
