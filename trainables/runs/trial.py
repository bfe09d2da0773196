"""Runs that leave weights: trials and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.runs.base import RunInputs, TrainingRun
from sparsweep.trainables.runs.prerequisites import read_outputs
from sparsweep.trainables.runs.result_rows import epoch_rows, layer_rows, trial_row
from sparsweep.trainables.runs.soundness import check_weights
from sparsweep.trainables.specs.partial import SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.provenance import Code, dump_code, load_code
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from sparsweep.trainables.training.trainer import DivergedError, Trainer


class WeightsRun(TrainingRun):
    """A run that leaves weights: those of a trial, or of its first epochs."""

    def __init__(self, spec: RunSpec, trial: TrialSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.lineage: dict[str, float] = {}
        started_from: list[Code] = []

        def trained(parent: RunSpec) -> dict[str, torch.Tensor]:
            assert parent.trained_trial is not None
            left = store.read_weights(parent.id, partial(check_weights, trial=parent.trained_trial))
            self.lineage |= {**left["lineage"], parent.id: left["train_flops"]}
            started_from.append(load_code(left.get("code")))
            return left["model"]

        placed = inputs.device_data(trial)
        sources = read_outputs(store, placed, started_from.append)
        difficulty = difficulties.cast(trial.difficulty)
        indices = difficulty.select(trial, placed.train_labels.cpu(), sources)
        data = difficulty.transform(trial, placed, sources)
        training = Trainer(trial, data, indices, trained, inputs.runner_cache)
        super().__init__(spec, training, store, sweep, started_from)
        for needed in trial.prerequisites():
            if isinstance(needed, SnapshotSpec) and needed.trial.id in self.lineage:
                self.lineage.pop(needed.id, None)  # its epochs are the first of that trial: they count once

    def write_weights(self) -> None:
        """Keep the weights, and what they cost: ``lineage`` holds the FLOPs of everything they came from."""
        training = self.training
        masked = [
            (weight.detach() * (1 - factor)).abs().max()
            for weight, factor in zip(training.weights.values(), training.masked_params.mask_floats, strict=True)
        ]
        if torch.stack(masked).max() != 0:
            raise AssertionError("a masked weight is not zero at the end of training")
        left = {
            "model": {name: value.cpu() for name, value in training.model.state_dict().items()},
            "masks": {name: mask.cpu() for name, mask in training.masks.items()},
            "train_flops": training.train_flops,
            "lineage": self.lineage,
            "code": dump_code(self.code),
        }
        try:
            check_weights(left, training.spec)
        except CorruptFileError as error:
            raise DivergedError(f"the training left nothing of use: {error}") from None
        self.store.write_weights(self.spec.id, left)


class TrialRun(WeightsRun):
    """A trial: it leaves its weights, and its rows in the tables ``epochs``, ``layers`` and ``trials``."""

    spec: TrialSpec

    def __init__(self, spec: TrialSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec, inputs, store, sweep)

    @staticmethod
    def output_paths(spec: TrialSpec, store: Store) -> tuple[str, ...]:
        return store.artifact_path("weights", spec.id), store.result_path("trials", spec.id)

    def finish(self) -> None:
        self.write_weights()
        layers = layer_rows(self.spec, self.training)
        course = {"sweep": self.sweep, "seconds": self.seconds, "started_at": self.started_at}
        trial = trial_row(self.spec, self.training, layers, self.lineage, course, self.code)
        tables: Mapping[str, list[dict[str, Any]]] = {
            "epochs": epoch_rows(self.spec, self.training),
            "layers": layers,
            "trials": [trial],
        }
        self.store.write_result(self.spec.id, tables)


class SnapshotRun(WeightsRun):
    """The first epochs of a trial: it leaves its weights."""

    spec: SnapshotSpec

    def __init__(self, spec: SnapshotSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec.trial, inputs, store, sweep)

    @staticmethod
    def output_paths(spec: SnapshotSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("weights", spec.id),)

    def finish(self) -> None:
        self.write_weights()
