"""A search through Tune: the study suggests as slots come free, prerequisites run first, every end is told."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.search import GrowingSearch, InOrder, Release
from sparsweep.tuner.study import Study
from sparsweep.tuner.sweep import Search

MAX_EPOCHS = 100_000
"""Trials end by themselves; ASHA only wants to know that they do."""


class StudySearch(GrowingSearch):
    """Gives Tune what a :class:`Study` suggests, ``parallel`` suggestions at a time, and what these need to start."""

    def __init__(self, release: Release, study: Study, store: Store, parallel: int) -> None:
        super().__init__(release, store)
        self.study, self.parallel = study, parallel
        self.exhausted = False

    def next_trial(self) -> Trial | None:
        if self.closed:
            return None
        while not self.release.has_ready and not self.exhausted and len(self.study.open) < self.parallel:
            self._suggest()
        return super().next_trial()

    def _suggest(self) -> None:
        spec = self.study.ask()
        if spec is None:
            self.exhausted = True
        else:
            self.take(spec)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        spec = self.release.graph.runs[trial_id]
        self.out.discard(trial_id)
        if error:
            lost = [trial_id, *self.release.fail(trial_id)]
            for run in lost:
                self._end(run, "failed")
            return
        self.release.finish(trial_id)
        if trial_id not in self.study.open or not isinstance(spec, TrialSpec):
            return
        if self.store.is_finished(trial_id):
            self.study.finished(spec)
        else:  # the scheduler stopped it, which Tune calls done too: nothing will go on from its checkpoint
            self.store.delete_checkpoint(trial_id)
            self._end(trial_id, "pruned")

    def _end(self, run: str, why: str) -> None:
        spec = self.release.graph.runs[run]
        if run in self.study.open and isinstance(spec, TrialSpec):
            self.study.ended(spec, why)

    def is_finished(self) -> bool:
        return self._finished or self.closed or (self.exhausted and self.release.exhausted)


def scheduler(search: Search, study: Study) -> TrialScheduler:
    """Stops suggested trials that fall behind in test accuracy; prerequisites always run to their end."""
    if search.stopping == "none":
        return InOrder()
    options: dict[str, Any] = {"time_attr": "epoch", "metric": "test_accuracy", "mode": "max"}
    if search.stopping == "asha":
        return _sparing(AsyncHyperBandScheduler, study, max_t=MAX_EPOCHS, grace_period=search.grace, **options)
    return _sparing(MedianStoppingRule, study, grace_period=search.grace, min_samples_required=3, **options)


def _sparing(kind: type[FIFOScheduler], study: Study, **options: Any) -> TrialScheduler:
    """A scheduler of ``kind`` that looks at nothing but suggestions, and only where they were evaluated."""

    class Sparing(kind):
        def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
            if trial.trial_id not in study.open or result.get("test_accuracy") is None:
                return TrialScheduler.CONTINUE
            return super().on_trial_result(tune_controller, trial, result)

        def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
            if result.get("test_accuracy") is not None:
                super().on_trial_complete(tune_controller, trial, result)

        def __reduce__(self) -> Any:
            return FIFOScheduler, ()  # Tune pickles its scheduler for a restore that is never made

    return Sparing(**options)
