"""Searchers that give Tune the runs of a sweep, each under its own id."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial

from sparsweep.trainables.specs.run import to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.tune_adapter import RunSearch
from sparsweep.tuner.planning.graph import missing_runs


class GraphSearch(RunSearch):
    """Gives Tune the runs of a :class:`RunQueue`, each as a trial whose id is the run's and whose config is that id.

    ``limit``: how many Tune holds at most. As many as can run means that each takes over the worker of the one that
    ended; Tune would reserve, and give back, resources for each one more. None: as many as Tune asks for, which tells
    a cluster that it should grow. ``closed``: nothing more begins; what runs comes to its end.
    """

    def __init__(self, release: RunQueue, limit: int | None = None) -> None:
        super().__init__()
        self.queue, self.limit = release, limit
        self.draining = False
        self.in_flight: set[str] = set()

    @property
    def total_samples(self) -> int:
        return len(self.queue.graph.runs)

    def next_trial(self) -> Trial | None:
        if self.draining or (self.limit is not None and len(self.in_flight) >= self.limit):
            return None
        run = self.queue.next()
        return None if run is None else self.trial(run)

    def trial(self, run: str, **config: Any) -> Trial:
        """``run`` for Tune, with what its trainable is told beside its id."""
        self.in_flight.add(run)
        return self.make_trial(run, {"run": run, **config})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.in_flight.discard(trial_id)
        if error:
            self.queue.fail(trial_id)
        elif result and result.get("done"):
            self.queue.finish(trial_id)

    def is_finished(self) -> bool:
        return super().is_finished() or self.draining or self.nothing_left()

    def nothing_left(self) -> bool:
        """Return whether no run will start any more."""
        return self.queue.exhausted


class DynamicGraphSearch(GraphSearch):
    """Gives Tune the runs of a graph that grows meanwhile, each with its spec beside its id."""

    def __init__(self, release: RunQueue, store: Store, limit: int | None = None) -> None:
        super().__init__(release, limit)
        self.store = store

    def trial(self, run: str, **config: Any) -> Trial:
        return super().trial(run, spec=to_json(self.queue.graph.runs[run]), **config)

    def add_trial(self, trial: TrialSpec) -> None:
        """A new point of the sweep: it, and what it misses to start, are to be run."""
        graph = self.queue.graph
        new = graph.add_trial(trial)
        runs = new if trial.id in new else [*new, trial.id]
        todo = missing_runs(graph, runs, self.store.finished(), self.store.artifact_paths(), self.store)
        self.queue.add(run for run in runs if run in todo)

    def nothing_left(self) -> bool:
        return not self.queue.pending  # a run that ends may add to the graph
