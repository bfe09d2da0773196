"""Runs that write weights: trials and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.runs.base import RunInputs, TrainingRun
from sparsweep.trainables.runs.measurements import write_measurements, write_missing
from sparsweep.trainables.runs.prerequisites import training_data
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
    """Run that writes the weights of a trial, or of its first epochs."""

    def __init__(self, spec: RunSpec, trial: TrialSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.lineage: dict[str, float] = {}
        started_from: list[Code] = []

        def load_parent_state(parent: RunSpec) -> dict[str, torch.Tensor]:
            assert parent.trained_trial is not None
            weights = store.read_weights(parent.id, partial(check_weights, trial=parent.trained_trial))
            self.lineage |= {**weights["lineage"], parent.id: weights["train_flops"]}
            started_from.append(load_code(weights.get("code")))
            return weights["model"]

        data, indices, codes = training_data(trial, inputs.device_data(trial), store)
        started_from += codes
        training = Trainer(trial, data, indices, load_parent_state, inputs.runner_cache)
        super().__init__(spec, training, store, sweep, started_from)
        for parent in trial.prerequisites():
            if isinstance(parent, SnapshotSpec) and parent.trial.id in self.lineage:
                self.lineage.pop(parent.id, None)  # its epochs are also those of its trial: count them once

    def write_weights(self) -> None:
        """Write the weights and their cost. ``lineage`` has the FLOPs of all ancestors.

        Raises:
            AssertionError: A masked weight is not zero.
            DivergedError: The weights are not finite, or all equal.
        """
        training = self.training
        masked = [
            (weight.detach() * (1 - factor)).abs().max()
            for weight, factor in zip(training.weights.values(), training.masked_params.mask_floats, strict=True)
        ]
        if torch.stack(masked).max() != 0:
            raise AssertionError("a masked weight is not zero at the end of training")
        content = {
            "model": {name: value.cpu() for name, value in training.model.state_dict().items()},
            "masks": {name: mask.cpu() for name, mask in training.masks.items()},
            "train_flops": training.train_flops,
            "lineage": self.lineage,
            "code": dump_code(self.code),
        }
        try:
            check_weights(content, training.spec)
        except CorruptFileError as error:
            raise DivergedError(f"the trained weights are unusable: {error}") from None
        self.store.write_weights(self.spec.id, content)


class TrialRun(WeightsRun):
    """Run of a trial. It writes outcomes, the weights, and rows of the tables ``epochs``, ``layers`` and ``trials``."""

    spec: TrialSpec

    def __init__(self, spec: TrialSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec, inputs, store, sweep)

    @staticmethod
    def output_paths(spec: TrialSpec, store: Store) -> tuple[str, ...]:
        return store.artifact_path("weights", spec.id), store.result_path("trials", spec.id)

    def finish(self) -> None:
        if self.store.is_finished(self.spec.id):  # it trained again to restore its weights, and keeps its results
            write_missing(self.training.evaluator, self.store)
            self.write_weights()
            return
        summaries = write_measurements(self.training.evaluator, self.store)
        self.write_weights()
        layers = layer_rows(self.spec, self.training)
        metadata = {"sweep": self.sweep, "seconds": self.seconds, "started_at": self.started_at, **summaries}
        trial = trial_row(self.spec, self.training, layers, self.lineage, metadata, self.code)
        tables: Mapping[str, list[dict[str, Any]]] = {
            "epochs": epoch_rows(self.spec, self.training),
            "layers": layers,
            "trials": [trial],
        }
        self.store.write_result(self.spec.id, tables)


class SnapshotRun(WeightsRun):
    """Run of the first epochs of a trial. It writes the weights."""

    spec: SnapshotSpec

    def __init__(self, spec: SnapshotSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec.trial, inputs, store, sweep)

    @staticmethod
    def output_paths(spec: SnapshotSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("weights", spec.id),)

    def finish(self) -> None:
        self.write_weights()
