"""Tune searcher for hyperparameter searches: the Optuna study suggests trials as slots become free."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.search import Search
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.search import DynamicGraphSearch
from sparsweep.tuner.execution.tune_adapter import SubmissionOrderScheduler, without_unmeasured_results
from sparsweep.tuner.search.study import OptunaStudy

MAX_EPOCHS = 100_000
"""``max_t`` of ASHA. Larger than any trial, because trials end by themselves."""


class OptunaSearch(DynamicGraphSearch):
    """Searcher that supplies the suggestions of a study and their prerequisites.

    Args:
        queue: Runs of earlier suggestions.
        study: The Optuna study.
        store: The storage.
        parallel: Maximum number of open suggestions.
    """

    def __init__(self, queue: RunQueue, study: OptunaStudy, store: Store, parallel: int) -> None:
        super().__init__(queue, store)
        self.study, self.max_open_trials = study, parallel
        self.exhausted = False

    def next_trial(self) -> Trial | None:
        if self.draining:
            return None
        while not self.queue.has_ready and not self.exhausted and len(self.study.open_trials) < self.max_open_trials:
            self._suggest()
        return super().next_trial()

    def _suggest(self) -> None:
        spec = self.study.ask()
        if spec is None:
            self.exhausted = True
        else:
            self.add_trial(spec)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        spec = self.queue.graph.runs[trial_id]
        self.in_flight.discard(trial_id)
        if error:
            for run in [trial_id, *self.queue.fail(trial_id)]:
                self._tell_study(run, "failed")
            return
        self.queue.finish(trial_id)
        if trial_id not in self.study.open_trials or not isinstance(spec, TrialSpec):
            return
        if self.store.is_finished(trial_id):
            self.study.tell_finished(spec)
        else:  # stopped early by the scheduler (also complete for Tune), so its checkpoint is useless
            self.store.delete_checkpoint(trial_id)
            self._tell_study(trial_id, "pruned")

    def _tell_study(self, run: str, why: str) -> None:
        spec = self.queue.graph.runs[run]
        if run in self.study.open_trials and isinstance(spec, TrialSpec):
            self.study.tell_failed(spec, why)

    def nothing_left(self) -> bool:
        return self.exhausted and self.queue.exhausted


def scheduler(search: Search, study: OptunaStudy) -> TrialScheduler:
    """Return the Tune scheduler for early stopping by test accuracy. It never stops prerequisites.

    Args:
        search: The search.
        study: Its study, which names the suggested trials.
    """
    if search.stopping == "none":
        return SubmissionOrderScheduler()
    options: dict[str, Any] = {
        "metric": "test_accuracy",
        "handles": study.open_trials.__contains__,
        "mode": "max",
        "grace_period": search.grace,
    }
    if search.stopping == "asha":
        return without_unmeasured_results(AsyncHyperBandScheduler, max_t=MAX_EPOCHS, **options)
    return without_unmeasured_results(MedianStoppingRule, min_samples_required=3, **options)
