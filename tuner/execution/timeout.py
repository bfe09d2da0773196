"""Ends runs that hang: no epoch of them has ended for longer than the sweep allows. Ends a sweep that must not fail."""

from __future__ import annotations

import time
from typing import Any

from sparsweep.tuner.execution.retries import TrialTimeout
from sparsweep.tuner.execution.tune_adapter import DriverCallback, RunTrial, kill_worker, request_stop


class EpochTimeout(DriverCallback):
    """Kills the worker of a run from which nothing was heard for ``seconds``, whatever it is doing.

    A run is heard of when an epoch ends, or once a second where epochs are shorter. Its time begins when a worker has
    taken it up, so that waiting for a free machine does not count; loading its data and its first epoch do, as do
    evaluation and whatever it writes at its end.
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
        for trial in [trial for trial, heard in self._last_result.items() if now - heard > self.seconds]:
            del self._last_result[trial]
            reason = f"no epoch ended within {self.seconds:g} s (resources.trial_timeout): killed"
            kill_worker(trial, TrialTimeout(reason))


class FailFast(DriverCallback):
    """Stops the whole sweep, as a signal does, once a run has failed for good."""

    def on_trial_error(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        request_stop()
