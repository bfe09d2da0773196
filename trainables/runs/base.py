"""A run from its beginning to what it leaves in storage: resumed from its checkpoint, advanced, finished.

Four kinds, one life: a trial leaves rows and weights, a snapshot weights, a scoring run scores, a corruption images.
Nothing here knows of Ray.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sparsweep.trainables.storage.tensor_file import Damaged
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.difficulties.corruption import corrupt
from sparsweep.trainables.training.execution import Workshop
from sparsweep.trainables.runs.origins import code_of
from sparsweep.trainables.runs.prerequisites import sources_in
from sparsweep.trainables.training.profiler import phase
from sparsweep.trainables.storage.provenance import Code, dump_code, joined, load_code
from sparsweep.trainables.runs.result_rows import epoch_rows, layer_rows, trial_row
from sparsweep.trainables.difficulties.scores.base import SCORES, View
from sparsweep.trainables.runs.soundness import check_like, check_ranking, check_training, check_weights
from sparsweep.trainables.specs.trial import CorruptionSpec, ScoringSpec, SnapshotSpec, Spec, TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import Diverged, Epoch, Training


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``last`` is its newest epoch, if it trains."""

    epoch: int
    epochs: int
    last: Epoch | None

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs


@dataclass(frozen=True)
class Inputs:
    """What a run starts from: the data set as loaded, and as a network wants it on the device of the run; and what its
    worker kept of the run before.
    """

    images: Callable[[], ImageData]
    placed: Callable[[TrialSpec], DeviceData]
    workshop: Workshop = field(default_factory=Workshop)


class Run(ABC):
    """One run in one storage."""

    progress: Progress
    history: Sequence[Epoch] = ()
    """The epochs so far, if it trains."""
    images_per_second: float | None = None

    @abstractmethod
    def advance(self, seconds: float) -> Progress:
        """Work for at least ``seconds``, then leave a checkpoint or, at the end, the results."""

    @staticmethod
    @abstractmethod
    def leaves(spec: Any, store: Store) -> tuple[str, ...]:
        """The files in the store that a finished run of ``spec`` leaves behind."""


class Trained(Run):
    """A run that trains a network. Making it continues from the newest checkpoint there is.

    Attributes:
        code: What made it and what it started from: several sources of a module that changed on the way.
    """

    def __init__(
        self, spec: Spec, training: Training, store: Store, sweep: str, started_from: Iterable[Code] = ()
    ) -> None:
        self.spec, self.training, self.store, self.sweep = spec, training, store, sweep
        self.seconds = 0.0
        self.code = joined(code_of(spec), *started_from)
        self.started_at = datetime.now(UTC)
        state = store.read_checkpoint(spec.id, self.check)
        if state is not None:
            self.restore(state)

    @property
    def history(self) -> Sequence[Epoch]:  # type: ignore[override]
        return self.training.history

    @property
    def images_per_second(self) -> float:  # type: ignore[override]
        """Training images per second so far, evaluation left out."""
        return self.training.images / self.training.train_seconds

    @property
    def progress(self) -> Progress:  # type: ignore[override]
        return Progress(len(self.history), self.spec.length, self.history[-1] if self.history else None)

    def advance(self, seconds: float) -> Progress:
        began = time.perf_counter()
        while not self.progress.done:
            self.train_epoch()
            if time.perf_counter() - began >= seconds:
                break
        self.seconds += time.perf_counter() - began
        with phase("storage"):
            if self.progress.done:
                self.finish()
                self.store.delete_checkpoint(self.spec.id)
            else:
                self.store.write_checkpoint(self.spec.id, self.state())
        return self.progress

    def train_epoch(self) -> None:
        self.training.train_epoch()

    def state(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "training": self.training.state(), "code": dump_code(self.code)}

    def check(self, state: Any) -> None:
        """Raise Damaged unless :meth:`restore`, at the beginning, can go on from ``state``."""
        if not isinstance(state, dict) or not {"seconds", "training"} <= state.keys():
            raise Damaged("it has other parts")
        check_like(state["seconds"], self.seconds, "seconds")
        check_training(state["training"], self.training, self.spec.length)

    def restore(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self.code = joined(self.code, load_code(state.get("code")))
        self.training.restore(state["training"])

    @abstractmethod
    def finish(self) -> None:
        """Write what the run leaves behind."""


class WeightsRun(Trained):
    """A run that leaves weights: those of a trial, or of its first epochs."""

    def __init__(self, spec: Spec, trial: TrialSpec, inputs: Inputs, store: Store, sweep: str) -> None:
        self.lineage: dict[str, float] = {}
        started_from: list[Code] = []

        def trained(parent: Spec) -> dict[str, torch.Tensor]:
            assert parent.training is not None
            left = store.read_weights(parent.id, partial(check_weights, trial=parent.training))
            self.lineage |= {**left["lineage"], parent.id: left["train_flops"]}
            started_from.append(load_code(left.get("code")))
            return left["model"]

        placed = inputs.placed(trial)
        sources = sources_in(store, placed, started_from.append)
        indices = trial.difficulty.select(trial, placed.train_labels.cpu(), sources)
        data = trial.difficulty.alter(trial, placed, sources)
        training = Training(trial, data, indices, trained, inputs.workshop)
        super().__init__(spec, training, store, sweep, started_from)
        for needed in trial.requirements():
            if isinstance(needed, SnapshotSpec) and needed.trial.id in self.lineage:
                self.lineage.pop(needed.id, None)  # its epochs are the first of that trial: they count once

    def write_weights(self) -> None:
        """Keep the weights, and what they cost: ``lineage`` holds the FLOPs of everything they came from."""
        training = self.training
        masked = [
            (weight.detach() * (1 - factor)).abs().max()
            for weight, factor in zip(training.weights.values(), training.topology.factors, strict=True)
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
        except Damaged as error:
            raise Diverged(f"the training left nothing of use: {error}") from None
        self.store.write_weights(self.spec.id, left)


class TrialRun(WeightsRun):
    """A trial: it leaves its weights, and its rows in the tables ``epochs``, ``layers`` and ``trials``."""

    spec: TrialSpec

    def __init__(self, spec: TrialSpec, inputs: Inputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec, inputs, store, sweep)

    @staticmethod
    def leaves(spec: TrialSpec, store: Store) -> tuple[str, ...]:
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

    def __init__(self, spec: SnapshotSpec, inputs: Inputs, store: Store, sweep: str) -> None:
        super().__init__(spec, spec.trial, inputs, store, sweep)

    @staticmethod
    def leaves(spec: SnapshotSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("weights", spec.id),)

    def finish(self) -> None:
        self.write_weights()


class ScoringRun(Trained):
    """The first epochs of a dense trial on the whole training set: it leaves scores of every sample."""

    spec: ScoringSpec

    def __init__(self, spec: ScoringSpec, inputs: Inputs, store: Store, sweep: str) -> None:
        def nothing(parent: Spec) -> dict[str, torch.Tensor]:
            raise LookupError(f"a dense trial has no prerequisite, asked for {parent}")

        data = inputs.placed(spec.trial)
        # What trials may have used already is never written a second time.
        missing = [name for name in spec.scores if not store.exists(store.scores_path(spec.id, name))]
        self.scores = {name: SCORES[name](data) for name in missing}
        indices = torch.arange(len(data.train_labels))
        super().__init__(spec, Training(spec.trial, data, indices, nothing, inputs.workshop), store, sweep)

    @staticmethod
    def leaves(spec: ScoringSpec, store: Store) -> tuple[str, ...]:
        return tuple(store.scores_path(spec.id, score) for score in spec.scores)

    def train_epoch(self) -> None:
        super().train_epoch()
        self.view = View(self.training)
        for score in self.scores.values():
            score.follow(self.view)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "scores": {name: score.state for name, score in self.scores.items()}}

    def check(self, state: Any) -> None:
        super().check(state)
        if not isinstance(state.get("scores"), dict):
            raise Damaged("its scores have other parts")
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
            values = score.result(self.view)
            try:
                check_ranking(values.cpu().numpy())
            except Damaged as error:
                raise Diverged(f"{name} is of no use: {error}") from None
            self.store.write_scores(self.spec.id, name, labels, values.cpu().numpy(), dump_code(self.code))


class CorruptionRun(Run):
    """A data set under corruption: it leaves the images."""

    def __init__(self, spec: CorruptionSpec, inputs: Inputs, store: Store, sweep: str) -> None:
        self.spec, self.inputs, self.store = spec, inputs, store
        self.progress = Progress(0, spec.length, None)

    @staticmethod
    def leaves(spec: CorruptionSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("corrupted", spec.id),)

    def advance(self, seconds: float) -> Progress:
        self.store.write_corrupted(self.spec.id, corrupt(self.inputs.images(), self.spec))
        self.progress = Progress(self.spec.length, self.spec.length, None)
        return self.progress


KINDS: dict[type[Spec], Any] = {
    TrialSpec: TrialRun,
    SnapshotSpec: SnapshotRun,
    ScoringSpec: ScoringRun,
    CorruptionSpec: CorruptionRun,
}


def leaves(spec: Spec, store: Store) -> tuple[str, ...]:
    """The files in ``store`` that a finished run of ``spec`` leaves behind."""
    return KINDS[type(spec)].leaves(spec, store)


def is_finished(spec: Spec, store: Store) -> bool:
    """Whether ``spec`` was run to its end in this storage, by whomever."""
    whole = not isinstance(spec, TrialSpec) or store.is_finished(spec.id)
    return whole and all(store.exists(path) for path in leaves(spec, store))


def open_run(spec: Spec, inputs: Inputs, store: Store, sweep: str) -> Run:
    """The run of ``spec``, continued from its checkpoint if it has one."""
    return KINDS[type(spec)](spec, inputs, store, sweep)
