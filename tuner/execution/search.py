"""Tune searchers that supply the runs of a sweep under their own ids."""

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
    """Searcher that supplies the runs of a :class:`RunQueue` as Tune trials with the run id as id and config.

    Attributes:
        queue: The runs.
        limit: Maximum number of Tune trials in flight. With the number of slots, each trial reuses the worker of an
            ended one; for every further trial Tune would reserve and release resources. None: no limit, so that a
            cluster adds nodes for pending trials.
        draining: If true, no run starts any more, and running runs continue to their end.
        in_flight: Ids of runs that Tune has.
    """

    def __init__(self, queue: RunQueue, limit: int | None = None) -> None:
        super().__init__()
        self.queue, self.limit = queue, limit
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
        """Return the Tune trial of ``run``, with ``config`` as further configuration."""
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
        """Return whether no more run will start."""
        return self.queue.exhausted


class DynamicGraphSearch(GraphSearch):
    """Searcher for a graph to which runs are added during the sweep. The config contains the spec of each run."""

    def __init__(self, queue: RunQueue, store: Store, limit: int | None = None) -> None:
        super().__init__(queue, limit)
        self.store = store

    def trial(self, run: str, **config: Any) -> Trial:
        return super().trial(run, spec=to_json(self.queue.graph.runs[run]), **config)

    def add_trial(self, trial: TrialSpec) -> None:
        """Add a new trial of the sweep and its missing prerequisites."""
        graph = self.queue.graph
        new = graph.add_trial(trial)
        runs = new if trial.id in new else [*new, trial.id]
        todo = missing_runs(graph, runs, self.store.finished(), self.store.artifact_paths(), self.store)
        self.queue.add(run for run in runs if run in todo)

    def nothing_left(self) -> bool:
        return not self.queue.pending  # the end of a run may add more runs
