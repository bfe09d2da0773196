"""A sweep with adaptive seeds, through Tune: further seeds start as soon as a result asks for them."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.search import DynamicGraphSearch
from sparsweep.tuner.search.adaptive_seeds import AdaptiveSeedPlan, update_from_store


class AdaptiveSeedSearch(DynamicGraphSearch):
    """Gives Tune the runs of a sweep and the further seeds that its points turn out to need."""

    def __init__(self, release: RunQueue, growth: AdaptiveSeedPlan, store: Store, limit: int | None = None) -> None:
        super().__init__(release, store, limit)
        self.plan = growth

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        super().on_trial_complete(trial_id, result, error)
        trial = self.plan.trials.get(trial_id)
        if trial is not None and not error:
            for new in update_from_store(self.plan, [trial], self.store):
                self.add_trial(new)
