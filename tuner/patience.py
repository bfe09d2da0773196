"""Ends runs that hang: no epoch of them has ended for longer than the sweep allows. Ends a sweep that must not fail."""

from __future__ import annotations

import signal
import time
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial

from sparsweep.tuner.retries import TrialTimeout


class Patience(Callback):
    """Kills the worker of a run from which nothing was heard for ``seconds``, whatever it is doing.

    A run is heard of when an epoch ends, or once a second where epochs are shorter. Its time begins when a worker has
    taken it up, so that waiting for a free machine does not count; loading its data and its first epoch do, as do
    evaluation and whatever it writes at its end.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._heard: dict[Trial, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks once at the start; nothing restores them

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._heard[trial] = time.monotonic() + trial.config.get("wait", 0.0)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._heard[trial] = time.monotonic()

    def _forget(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._heard.pop(trial, None)

    on_trial_complete = on_trial_recover = on_trial_error = _forget

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now = time.monotonic()
        for trial in [trial for trial, heard in self._heard.items() if now - heard > self.seconds]:
            del self._heard[trial]
            trial.verdict = TrialTimeout(f"no epoch ended within {self.seconds:g} s (resources.trial_timeout): killed")
            ray.kill(trial.temporary_state.ray_actor)


class FailFast(Callback):
    """Stops the whole sweep, as a signal does, once a run has failed for good."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as above

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        signal.raise_signal(signal.SIGUSR1)  # Tune's own, for an orderly stop
