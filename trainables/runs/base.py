"""A run from its beginning to what it leaves in storage: resumed from its checkpoint, advanced, finished.

Four kinds, one life: a trial leaves rows and weights, a snapshot weights, a scoring run scores, a corruption images.
Nothing here knows of Ray.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.origins import code_of
from sparsweep.trainables.runs.soundness import check_like, check_training
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.provenance import Code, dump_code, load_code, merge_code
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from sparsweep.trainables.training.execution import StepRunnerCache
from sparsweep.trainables.training.profiler import phase
from sparsweep.trainables.training.trainer import EpochMetrics, Trainer


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``last`` is its newest epoch, if it trains."""

    epoch: int
    epochs: int
    last: EpochMetrics | None

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self.epochs


@dataclass(frozen=True)
class RunInputs:
    """What a run starts from: the data set as loaded, and as a network wants it on the device of the run; and what its
    worker kept of the run before.
    """

    load_images: Callable[[], ImageData]
    device_data: Callable[[TrialSpec], DeviceData]
    runner_cache: StepRunnerCache = field(default_factory=StepRunnerCache)


class Run(ABC):
    """One run in one storage."""

    progress: Progress
    history: Sequence[EpochMetrics] = ()
    """The epochs so far, if it trains."""
    images_per_second: float | None = None

    @abstractmethod
    def run_for(self, seconds: float) -> Progress:
        """Work for at least ``seconds``, then leave a checkpoint or, at the end, the results."""

    @staticmethod
    @abstractmethod
    def output_paths(spec: Any, store: Store) -> tuple[str, ...]:
        """The files in the store that a finished run of ``spec`` leaves behind."""


class TrainingRun(Run):
    """A run that trains a network. Making it continues from the newest checkpoint there is.

    Attributes:
        code: What made it and what it started from: several sources of a module that changed on the way.
    """

    def __init__(
        self, spec: RunSpec, training: Trainer, store: Store, sweep: str, started_from: Iterable[Code] = ()
    ) -> None:
        self.spec, self.training, self.store, self.sweep = spec, training, store, sweep
        self.seconds = 0.0
        self.code = merge_code(code_of(spec), *started_from)
        self.started_at = datetime.now(UTC)
        state = store.read_checkpoint(spec.id, self.check)
        if state is not None:
            self.restore(state)

    @property
    def history(self) -> Sequence[EpochMetrics]:  # type: ignore[override]
        return self.training.history

    @property
    def images_per_second(self) -> float:  # type: ignore[override]
        """Training images per second so far, evaluation left out."""
        return self.training.num_images / self.training.train_seconds

    @property
    def progress(self) -> Progress:  # type: ignore[override]
        return Progress(len(self.history), self.spec.num_epochs, self.history[-1] if self.history else None)

    def run_for(self, seconds: float) -> Progress:
        began = time.perf_counter()
        while not self.progress.is_finished:
            self.train_epoch()
            if time.perf_counter() - began >= seconds:
                break
        self.seconds += time.perf_counter() - began
        with phase("storage"):
            if self.progress.is_finished:
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
            raise CorruptFileError("it has other parts")
        check_like(state["seconds"], self.seconds, "seconds")
        check_training(state["training"], self.training, self.spec.num_epochs)

    def restore(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self.code = merge_code(self.code, load_code(state.get("code")))
        self.training.restore(state["training"])

    @abstractmethod
    def finish(self) -> None:
        """Write what the run leaves behind."""
