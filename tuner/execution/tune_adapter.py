"""Everything that depends on the inside of Ray and Ray Tune. Check this file alone when Ray's version changes."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Experiment, Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from sparsweep.tuner.execution.retries import RetryPolicy

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no log files per trial
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # snapshots of the experiment are never restored
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver handles signals
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the progress callback prints one line per failure
    "RAY_AIR_NEW_OUTPUT": "0",  # no output of Tune's own
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers keep their folder
}


def set_environment() -> None:
    """Set the variables that Tune reads while it runs. A value that the user has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def limit_pending_trials(number: int) -> None:
    """Let Tune hold at most ``number`` trials that wait for resources."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(number)


def silence_loggers() -> None:
    """Log only what this package does not print itself."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # logs every failed trial


def server_addresses() -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return (host, port) of this driver's node and of the cluster's control store; None for a Ray client."""
    node = ray._private.worker._global_node
    if node is None:
        return None
    host, _, port = node.gcs_address.rpartition(":")
    return (node.node_ip_address, node.node_manager_port), (host.strip("[]"), int(port))


# Stopping ------------------------------------------------------------------------------------------------------------


def can_stop() -> bool:
    """Return whether Tune is running and handles a request to stop."""
    return callable(signal.getsignal(signal.SIGUSR1))


def request_stop() -> None:
    """Stop Tune in order: no new trial starts, running ones are stopped."""
    os.kill(os.getpid(), signal.SIGUSR1)


def reset_stop() -> None:
    """Remove the handler that Tune leaves behind."""
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


# Trials --------------------------------------------------------------------------------------------------------------


class RunTrial(Trial):
    """A run as a trial of Tune.

    Disables Tune's per-trial snapshot and metric statistics (about 30 kB per trial): they are never read.

    Attributes:
        error: The error of its last attempt.
        kill_reason: The error to report for its worker, which is about to be killed.
    """

    config: dict[str, Any]
    error: Exception | None = None
    kill_reason: Exception | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.retries = RetryPolicy(self.max_failures)

    def get_json_state(self) -> tuple[str, str]:
        """Return empty snapshots."""
        return "{}", "{}"

    def handle_error(self, exc: Exception) -> None:
        """Keep the error in memory. Tune would pickle it to a file and unpickle it from there."""
        self.error, self.kill_reason = self.kill_reason or exc, None
        self.retries.add(self.error)
        self.config = {**self.config, "wait": self.retries.delay_s}

    def should_recover(self) -> bool:
        return self.retries.should_retry

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Keep the newest result, without statistics."""
        self.run_metadata.last_result = result
        self.run_metadata.last_result_time = time.time()


def kill_worker(trial: RunTrial, reason: Exception) -> None:
    """Kill the worker of ``trial``, whose failure is then ``reason``."""
    trial.kill_reason = reason
    ray.kill(trial.temporary_state.ray_actor)


class RunSearch(SearchAlgorithm):
    """A searcher that makes :class:`RunTrial` objects. Subclasses choose the runs."""

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher at the start, for a restore that is never made

    def add_configurations(self, experiments: list[Experiment]) -> None:
        (experiment,) = experiments
        spec = experiment.spec
        self._options = {
            "trainable_name": spec["run"],
            "storage": spec["storage"],
            "checkpoint_config": spec["checkpoint_config"],
            "max_failures": spec["max_failures"],
            "placement_group_factory": spec["resources_per_trial"],
        }

    def make_trial(self, run: str, config: dict[str, Any]) -> RunTrial:
        """Return the trial of ``run``, whose trainable gets ``config``."""
        return RunTrial(trial_id=run, experiment_tag=run, config=config, **self._options)


class DriverCallback(Callback):
    """A callback that stays in the driver. Tune pickles callbacks once, for a restore that is never made."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


# Schedulers ----------------------------------------------------------------------------------------------------------


class SubmissionOrderScheduler(FIFOScheduler):
    """Starts trials in the order of the searcher, on free workers or on new ones.

    Tune's own scheduler hands the worker of a trial that ended to a trial whose worker is still starting, and stops
    that one. If trials are shorter than such a start, slots stand empty one after the other. It also looks at all
    trials, finished ones too, at every event. Without a choice here, the controller starts trials as they come.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return None


def without_unmeasured_results(kind: type[FIFOScheduler], metric: str, handles: Any, **options: Any) -> TrialScheduler:
    """Return a scheduler of ``kind`` that sees only results with ``metric``, of trials for which ``handles(id)``."""

    class MeasuredResults(kind):
        def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
            if not handles(trial.trial_id) or result.get(metric) is None:
                return TrialScheduler.CONTINUE
            return super().on_trial_result(tune_controller, trial, result)

        def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
            if result.get(metric) is not None:
                super().on_trial_complete(tune_controller, trial, result)

        def __reduce__(self) -> Any:
            return FIFOScheduler, ()  # Tune pickles its scheduler, for a restore that is never made

    return MeasuredResults(time_attr="epoch", metric=metric, **options)
