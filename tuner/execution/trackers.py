"""Trackers beside our own tables, on request: TensorBoard, Weights & Biases, MLflow, through Ray's loggers.

A tracker sees a run with every field of its spec as a parameter and with epochs as steps, so a run that is gone on
with later continues its curves: TensorBoard and MLflow in the same folder or run, W&B under the same run id.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.execution.run_options import Tracker
from sparsweep.tuner.execution.tune_adapter import DriverCallback

log = logging.getLogger(__name__)

TOLD = ("train_loss", "test_accuracy", "images_per_second")
"""What a tracker is told after an epoch, where it was measured."""


class Tracking(DriverCallback):
    """Passes Tune's events on to one of Ray's loggers. A tracker that fails is not told any more; training goes on."""

    def __init__(self, name: Tracker, logger: LoggerCallback, runs: Mapping[str, RunSpec], folder: Path) -> None:
        self.name, self.runs, self.folder = name, runs, folder
        self.logger: LoggerCallback | None = logger
        self._seen: dict[str, Any] = {}

    def setup(self, **info: Any) -> None:
        self._tell(lambda logger: logger.setup(**info))

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._tell(lambda logger: logger.log_trial_start(self._as_seen(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        told = {name: result[name] for name in TOLD if result.get(name) is not None}
        if told:
            steps = {"training_iteration": result["epoch"], "timesteps_total": result["epoch"]}
            self._tell(lambda logger: logger.log_trial_result(iteration, self._as_seen(trial), {**told, **steps}))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._tell(lambda logger: logger.on_experiment_end(trials, **info))

    def _end(self, trial: Trial, failed: bool) -> None:
        self._tell(lambda logger: logger.log_trial_end(self._as_seen(trial), failed=failed))
        self._seen.pop(trial.trial_id, None)

    def _as_seen(self, trial: Trial) -> Any:
        if trial.trial_id not in self._seen:
            self._seen[trial.trial_id] = Seen(self.runs[trial.trial_id], self.folder)
        return self._seen[trial.trial_id]

    def _tell(self, call: Callable[[LoggerCallback], None]) -> None:
        if self.logger is None:
            return
        try:
            call(self.logger)
        except Exception as error:  # whatever it is: a tracker is no reason to stop training
            log.warning("--track %s: %s; it is not told any more", self.name, " ".join(str(error).split()))
            self.logger = None


class Seen:
    """A run as Ray's loggers see a trial: its name, its parameters, a folder of its own."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        self.trial_id, self.words = spec.id, str(spec)
        self.config = self.evaluated_params = parameters(spec)
        self.experiment_dir_name = folder.name
        self.local_path = str(folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.words)}-{spec.id[:8]}")

    def __str__(self) -> str:
        return self.words

    def init_local_path(self) -> None:
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


def parameters(spec: RunSpec) -> dict[str, Any]:
    """Every field of a spec by its dotted path; what is unset is left out."""
    found: dict[str, Any] = {}

    def flatten(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, part in value.items():
                flatten(part, f"{path}.{key}" if path else key)
        elif value is not None:
            found[path] = value if isinstance(value, bool | int | float | str) else str(value)

    flatten(spec.model_dump(mode="json"), "")
    return found


def tracking(name: Tracker, sweep: str, runs: Mapping[str, RunSpec], store: Store) -> Tracking:
    """The tracker ``name`` for a run of ``sweep``; WrongCall, with what to do, if it cannot be used."""
    folder = home(store) / name / sweep
    try:
        return Tracking(name, MAKERS[name](sweep, folder), runs, folder)
    except (ImportError, RuntimeError):
        raise UsageError(f"--track {name}: it is not installed: pip install 'sparsweep[{name}]'") from None


def home(store: Store) -> Path:
    """Where trackers write files: in the storage, or, since they cannot write into a bucket, in this folder."""
    return Path.cwd() / "tracking" if "://" in store.storage else Path(store.root) / "tracking"


def to_tensorboard(sweep: str, folder: Path) -> LoggerCallback:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def to_wandb(sweep: str, folder: Path) -> LoggerCallback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Continued(WandbLoggerCallback):
        def log_trial_start(self, trial: Any) -> None:
            trial.init_local_path()  # its logging process works there
            super().log_trial_start(trial)

    made = Continued(project="sparsweep", group=sweep, resume="allow")
    if os.environ.get("WANDB_MODE") not in {"offline", "disabled"}:
        import wandb

        if not wandb.login(prompt=False):
            raise UsageError("--track wandb: not logged in: run `wandb login`, or set WANDB_MODE=offline")
    return made


def to_mlflow(sweep: str, folder: Path) -> LoggerCallback:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class Continued(MLflowLoggerCallback):
        def log_trial_start(self, trial: Any) -> None:
            from mlflow import search_runs

            self.tags = {"trial": trial.trial_id}
            same = f"tags.trial = '{trial.trial_id}'"
            for run in search_runs(experiment_names=[sweep], filter_string=same, output_format="list"):
                self._trial_runs[trial] = run.info.run_id
            super().log_trial_start(trial)

    folder.parent.mkdir(parents=True, exist_ok=True)
    address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent}/mlflow.db"
    return Continued(tracking_uri=address, experiment_name=sweep)


MAKERS: dict[Tracker, Callable[[str, Path], LoggerCallback]] = {
    Tracker.tensorboard: to_tensorboard,
    Tracker.wandb: to_wandb,
    Tracker.mlflow: to_mlflow,
}
