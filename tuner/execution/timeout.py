"""Tune callbacks that kill hanging runs (``trial_timeout``) and stop a sweep at its first failure (``fail_fast``)."""

from __future__ import annotations

import time
from typing import Any

from sparsweep.tuner.execution.retries import TrialTimeout
from sparsweep.tuner.execution.tune_adapter import DriverCallback, RunTrial, kill_worker, request_stop


class EpochTimeout(DriverCallback):
    """Callback that kills the worker of a run without a report for ``seconds``.

    A run reports at the end of each epoch, at most once per second. The time starts when a worker starts the run, so
    waiting for a free node does not count. Loading data, evaluation and writing results count.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last_result: dict[RunTrial, float] = {}

    def on_trial_start(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._last_result[trial] = time.monotonic() + trial.config.get("wait", 0.0)

    def on_trial_result(
        self, iteration: int, trials: list[RunTrial], trial: RunTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._last_result[trial] = time.monotonic()

    def _forget(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._last_result.pop(trial, None)

    on_trial_complete = on_trial_recover = on_trial_error = _forget

    def on_step_end(self, iteration: int, trials: list[RunTrial], **info: Any) -> None:
        now = time.monotonic()
        for trial in [trial for trial, reported in self._last_result.items() if now - reported > self.seconds]:
            del self._last_result[trial]
            reason = f"no epoch ended within {self.seconds:g} s (resources.trial_timeout), the run was killed"
            kill_worker(trial, TrialTimeout(reason))


class FailFast(DriverCallback):
    """Callback that stops the sweep in order once a run has failed after all retries."""

    def on_trial_error(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        request_stop()
