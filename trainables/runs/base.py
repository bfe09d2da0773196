"""Base classes of runs: a run starts or resumes from its checkpoint, advances, and writes its outputs.

Run types and outputs: trial: rows, outcomes, weights; snapshot: weights; scoring: scores; corruption: images;
evaluation: outcomes of a finished trial. This package does not depend on Ray.
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
    """Progress of a run.

    Attributes:
        epoch: Finished epochs.
        epochs: Epochs of the full run.
        last: Metrics of the newest epoch, or None if the run does not train.
    """

    epoch: int
    epochs: int
    last: EpochMetrics | None

    @property
    def is_finished(self) -> bool:
        """Whether the run has reached its last epoch."""
        return self.epoch >= self.epochs


@dataclass(frozen=True)
class RunInputs:
    """Inputs that a worker provides to a run.

    Attributes:
        load_images: Loads the data set.
        device_data: Returns the data set of a trial in the form of its network, on the device of the run.
        runner_cache: Runner of the worker's previous run.
    """

    load_images: Callable[[], ImageData]
    device_data: Callable[[TrialSpec], DeviceData]
    runner_cache: StepRunnerCache = field(default_factory=StepRunnerCache)


class Run(ABC):
    """One run in one storage."""

    progress: Progress
    history: Sequence[EpochMetrics] = ()
    """Metrics of the epochs so far. Empty if the run does not train."""
    images_per_second: float | None = None
    """Training throughput so far, or None if the run does not train."""

    @abstractmethod
    def run_for(self, seconds: float) -> Progress:
        """Run for at least ``seconds``, then write a checkpoint or, at the end, the outputs."""

    @staticmethod
    @abstractmethod
    def output_paths(spec: Any, store: Store) -> tuple[str, ...]:
        """Return the paths of the files that a finished run of ``spec`` writes.

        Args:
            spec: Spec of the run.
            store: Storage of the run.
        """


class TrainingRun(Run):
    """Run that trains a network. The constructor resumes from the newest checkpoint, if any.

    Attributes:
        code: Code of the run and of its inputs. A module has several versions if it changed between attempts.
        seconds: Run time of all attempts so far.
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
        """Training images per second so far, without evaluation."""
        return self.training.num_images / self.training.train_seconds

    @property
    def progress(self) -> Progress:  # type: ignore[override]
        """Number of finished epochs, of all, and the newest metrics."""
        return Progress(len(self.history), self.spec.num_epochs, self.history[-1] if self.history else None)

    def run_for(self, seconds: float) -> Progress:
        start = time.perf_counter()
        while not self.progress.is_finished:
            self.train_epoch()
            if time.perf_counter() - start >= seconds:
                break
        self.seconds += time.perf_counter() - start
        with phase("storage"):
            if self.progress.is_finished:
                self.finish()
                self.store.delete_checkpoint(self.spec.id)
            else:
                self.store.write_checkpoint(self.spec.id, self.state())
        return self.progress

    def train_epoch(self) -> None:
        """Train one epoch."""
        self.training.train_epoch()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"seconds": self.seconds, "training": self.training.state(), "code": dump_code(self.code)}

    def check(self, state: Any) -> None:
        """Check that :meth:`restore` can continue from ``state``. Called before the first step.

        Raises:
            CorruptFileError: The state is not that of this run.
        """
        if not isinstance(state, dict) or not {"seconds", "training"} <= state.keys():
            raise CorruptFileError("it has an unexpected structure")
        check_like(state["seconds"], self.seconds, "seconds")
        check_training(state["training"], self.training, self.spec.num_epochs)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.seconds = state["seconds"]
        self.code = merge_code(self.code, load_code(state.get("code")))
        self.training.restore(state["training"])

    @abstractmethod
    def finish(self) -> None:
        """Write the outputs of the run."""
