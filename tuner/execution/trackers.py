"""Optional trackers besides the result tables: TensorBoard, Weights & Biases, MLflow (``--track``).

Every field of a run's spec is a parameter, and epochs are the steps. A resumed run continues its curves: TensorBoard
in the same folder, Weights & Biases and MLflow in the same run.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.execution.run_options import Tracker
from sparsweep.tuner.execution.tune_adapter import DriverCallback

log = logging.getLogger(__name__)

LOGGED_METRICS = ("train_loss", "test_accuracy", "images_per_second")
"""Metrics to log after an epoch, if they were measured."""
TAG_PREFIX = "ray/tune/"
"""Of TensorBoard's tags. Runs of earlier versions have it, so that their curves continue."""


class RunTracker(ABC):
    """Logs the runs of one sweep to one service."""

    @abstractmethod
    def start(self, spec: RunSpec) -> None:
        """Start or continue the record of a run."""

    @abstractmethod
    def log(self, spec: RunSpec, metrics: Mapping[str, float], epoch: int) -> None:
        """Log metrics after an epoch."""

    @abstractmethod
    def finish(self, spec: RunSpec, failed: bool) -> None:
        """Close the record of a run."""


class TrackerCallback(DriverCallback):
    """Passes Tune's events to a tracker. A tracker that raises is dropped, and training continues."""

    def __init__(self, name: Tracker, tracker: RunTracker, runs: Mapping[str, RunSpec]) -> None:
        self.name, self.runs = name, runs
        self.tracker: RunTracker | None = tracker

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._call(lambda tracker: tracker.start(self.runs[trial.trial_id]))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        metrics = {name: result[name] for name in LOGGED_METRICS if result.get(name) is not None}
        if metrics:
            self._call(lambda tracker: tracker.log(self.runs[trial.trial_id], metrics, result["epoch"]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._call(lambda tracker: tracker.finish(self.runs[trial.trial_id], failed=False))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._call(lambda tracker: tracker.finish(self.runs[trial.trial_id], failed=True))

    def _call(self, call: Callable[[RunTracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            call(self.tracker)
        except Exception as error:  # no error of a tracker may stop the training
            log.warning("--track %s: %s. Tracking stops, training continues.", self.name, " ".join(str(error).split()))
            self.tracker = None


def parameters(spec: RunSpec) -> dict[str, Any]:
    """Return every field of ``spec`` by its dotted path. Fields that are unset are left out."""
    found: dict[str, Any] = {}

    def flatten(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, part in value.items():
                flatten(part, f"{path}.{key}" if path else key)
        elif value is not None:
            found[path] = value if isinstance(value, bool | int | float | str) else str(value)

    flatten(spec.model_dump(mode="json"), "")
    return found


class TensorBoardTracker(RunTracker):
    """Writes one folder per run."""

    def __init__(self, sweep: str, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._open_writer, self._folder = SummaryWriter, folder
        self._writers: dict[str, Any] = {}
        self._last: dict[str, dict[str, float]] = {}

    def start(self, spec: RunSpec) -> None:
        if spec.id in self._writers:
            self._writers[spec.id].close()
        name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', str(spec))}-{spec.id[:8]}"
        self._writers[spec.id], self._last[spec.id] = self._open_writer(str(self._folder / name)), {}

    def log(self, spec: RunSpec, metrics: Mapping[str, float], epoch: int) -> None:
        writer = self._writers[spec.id]
        for name, value in metrics.items():
            writer.add_scalar(TAG_PREFIX + name, value, global_step=epoch)
        writer.flush()
        self._last[spec.id] = {TAG_PREFIX + name: value for name, value in metrics.items()}

    def finish(self, spec: RunSpec, failed: bool) -> None:
        from tensorboardX.summary import hparams

        writer, last = self._writers.pop(spec.id), self._last.pop(spec.id)
        if last:
            for summary in hparams(hparam_dict=parameters(spec), metric_dict=last):
                writer.file_writer.add_summary(summary)
        writer.close()


class WandbTracker(RunTracker):
    """Logs one run per trial, in a group per sweep."""

    def __init__(self, sweep: str, folder: Path) -> None:
        import wandb

        if os.environ.get("WANDB_MODE") not in {"offline", "disabled"} and not wandb.login(prompt=False):
            raise UsageError("--track wandb: not logged in. Run `wandb login`, or set WANDB_MODE=offline.")
        folder.mkdir(parents=True, exist_ok=True)
        self._init = lambda spec: wandb.init(
            project="sparsweep",
            group=sweep,
            id=spec.id,
            name=str(spec),
            config=parameters(spec),
            dir=str(folder),
            resume="allow",
            reinit="create_new",
        )
        self._runs: dict[str, Any] = {}

    def start(self, spec: RunSpec) -> None:
        if spec.id in self._runs:
            self._runs[spec.id].finish(exit_code=1)
        self._runs[spec.id] = self._init(spec)

    def log(self, spec: RunSpec, metrics: Mapping[str, float], epoch: int) -> None:
        self._runs[spec.id].log(dict(metrics), step=epoch)

    def finish(self, spec: RunSpec, failed: bool) -> None:
        self._runs.pop(spec.id).finish(exit_code=int(failed))


class MlflowTracker(RunTracker):
    """Logs one run per trial, in an experiment per sweep. Runs are found again by a tag with the trial's id."""

    def __init__(self, sweep: str, folder: Path) -> None:
        from mlflow import MlflowClient

        folder.parent.mkdir(parents=True, exist_ok=True)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent}/mlflow.db"
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(sweep)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(sweep)
        self._runs: dict[str, str] = {}

    def start(self, spec: RunSpec) -> None:
        known = self._client.search_runs([self._experiment], filter_string=f"tags.trial = '{spec.id}'")
        if known:
            self._runs[spec.id] = known[0].info.run_id
            self._client.update_run(self._runs[spec.id], status="RUNNING")
            return
        run = self._client.create_run(self._experiment, tags={"trial": spec.id}, run_name=str(spec))
        self._runs[spec.id] = run.info.run_id
        for name, value in parameters(spec).items():
            self._client.log_param(run.info.run_id, name, value)

    def log(self, spec: RunSpec, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._runs[spec.id], name, value, step=epoch)

    def finish(self, spec: RunSpec, failed: bool) -> None:
        self._client.set_terminated(self._runs.pop(spec.id), status="FAILED" if failed else "FINISHED")


TRACKER_FACTORIES: dict[Tracker, Callable[[str, Path], RunTracker]] = {
    Tracker.tensorboard: TensorBoardTracker,
    Tracker.wandb: WandbTracker,
    Tracker.mlflow: MlflowTracker,
}


def make_tracker(name: Tracker, sweep: str, runs: Mapping[str, RunSpec], store: Store) -> TrackerCallback:
    """Return the callback that logs the runs of ``sweep`` to the tracker ``name``.

    Raises:
        UsageError: Its package is not installed, or nobody is logged in.
    """
    try:
        return TrackerCallback(name, TRACKER_FACTORIES[name](sweep, tracking_dir(store) / name / sweep), runs)
    except ImportError:
        raise UsageError(f"--track {name}: not installed. Fix: pip install 'sparsweep[{name}]'") from None


def tracking_dir(store: Store) -> Path:
    """Return the folder of the trackers' files: in the storage, or in the current folder if that is a bucket."""
    return Path.cwd() / "tracking" if "://" in store.storage else Path(store.root) / "tracking"
