"""Tune searcher for sweeps with adaptive seeds. It adds seeds as soon as results require them."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.search import DynamicGraphSearch
from sparsweep.tuner.search.adaptive_seeds import AdaptiveSeedPlan, update_from_store


class AdaptiveSeedSearch(DynamicGraphSearch):
    """Searcher that supplies the runs of a sweep and further seeds for undecided comparisons."""

    def __init__(self, queue: RunQueue, plan: AdaptiveSeedPlan, store: Store, limit: int | None = None) -> None:
        super().__init__(queue, store, limit)
        self.plan = plan

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        super().on_trial_complete(trial_id, result, error)
        trial = self.plan.trials.get(trial_id)
        if trial is not None and not error:
            for new in update_from_store(self.plan, [trial], self.store):
                self.add_trial(new)
