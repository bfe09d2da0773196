"""Releases runs to Tune as their prerequisites finish: no barrier between phases, every run under our own id."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.experiment import Experiment, Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import SearchAlgorithm

from sparsweep.trainables.specs.trial import TrialSpec, dump
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.graph import Graph, unfinished
from sparsweep.tuner.order import Key, by_length
from sparsweep.tuner.retries import Retries


class Release:
    """The order of a graph's runs: what may start now, and what each end sets free.

    Adding, releasing and finishing a run costs O(log n), whatever the size of the graph; failing one, what it blocks.
    ``order`` gives the key of a run: of those that may start, the one with the smallest starts first.
    """

    def __init__(self, graph: Graph, todo: frozenset[str], order: Callable[[str], Key] | None = None) -> None:
        self.graph = graph
        self.waiting: dict[str, set[str]] = {}
        self.open: set[str] = set()
        self.failed: set[str] = set()
        self._order = order or by_length(graph)
        self._ready: list[tuple[Key, int, str]] = []
        self._count = itertools.count()
        self.add(run for run in graph.runs if run in todo)

    def add(self, runs: Iterable[str]) -> None:
        """Runs of the graph that are to be made, prerequisites first."""
        new = [run for run in runs if run not in self.open]
        self.open.update(new)
        for run in new:
            self.waiting[run] = {need for need in self.graph.needs[run] if need in self.open}
        for run in new:
            self._offer(run)

    def _offer(self, run: str) -> None:
        """Make ``run`` ready if it waits for nothing."""
        if not self.waiting[run]:
            del self.waiting[run]
            heapq.heappush(self._ready, (self._order(run), next(self._count), run))

    def next(self) -> str | None:
        """A run to start now, or None if all others wait for one that is running."""
        if not self._ready:
            return None
        return heapq.heappop(self._ready)[-1]

    def finish(self, run: str) -> None:
        """``run`` is done: what waited for it alone becomes ready."""
        self.open.discard(run)
        for dependent in self.graph.needed_by.get(run, ()):
            if dependent in self.waiting:
                self.waiting[dependent].discard(run)
                self._offer(dependent)

    def fail(self, run: str) -> list[str]:
        """``run`` failed for good: what needs it, at any distance, is blocked, and returned."""
        self.failed.add(run)
        self.open.discard(run)
        blocked, left = [], [run]
        while left:
            for dependent in self.graph.needed_by.get(left.pop(), ()):
                if dependent in self.waiting:
                    del self.waiting[dependent]
                    self.open.discard(dependent)
                    blocked.append(dependent)
                    left.append(dependent)
        return blocked

    @property
    def has_ready(self) -> bool:
        """Whether something can start now."""
        return bool(self._ready)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to start, now or later."""
        return not self._ready and not self.waiting


class RunTrial(Trial):
    """A run as Tune sees it, without what Tune would keep for itself.

    A snapshot holds nothing of it, for none is ever restored; and statistics of everything that it reports, some
    30 kB a trial for as long as the sweep runs, are not made.
    """

    config: dict[str, Any]
    error: Exception | None = None
    """What it failed of the last time."""
    verdict: Exception | None = None
    """Why it is about to be killed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.retries = Retries(self.max_failures)

    def get_json_state(self) -> tuple[str, str]:
        return "{}", "{}"

    def handle_error(self, exc: Exception) -> None:
        """Keep the error in memory, where Tune would pickle it to a file to be unpickled from there."""
        self.error, self.verdict = self.verdict or exc, None
        self.retries.add(self.error)
        self.config = {**self.config, "wait": self.retries.wait}

    def should_recover(self) -> bool:
        return self.retries.again

    def update_last_result(self, result: dict[str, Any]) -> None:
        self.run_metadata.last_result = result
        self.run_metadata.last_result_time = time.time()


class GraphSearch(SearchAlgorithm):
    """Gives Tune the runs of a :class:`Release`, each as a trial whose id is the run's and whose config is that id.

    ``limit``: how many Tune holds at most. As many as can run means that each takes over the worker of the one that
    ended; Tune would reserve, and give back, resources for each one more. None: as many as Tune asks for, which tells
    a cluster that it should grow. ``closed``: nothing more begins; what runs comes to its end.
    """

    def __init__(self, release: Release, limit: int | None = None) -> None:
        self.release, self.limit = release, limit
        self.closed = False
        self.out: set[str] = set()
        self._experiment: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher once at the start, for a restore that is never made: the store is the truth.
        return {}

    def add_configurations(self, experiments: list[Experiment]) -> None:
        (experiment,) = experiments
        spec = experiment.spec
        self._experiment = {
            "trainable_name": spec["run"],
            "storage": spec["storage"],
            "checkpoint_config": spec["checkpoint_config"],
            "max_failures": spec["max_failures"],
            "placement_group_factory": spec["resources_per_trial"],
        }

    @property
    def total_samples(self) -> int:
        return len(self.release.graph.runs)

    def next_trial(self) -> Trial | None:
        if self.closed or (self.limit is not None and len(self.out) >= self.limit):
            return None
        run = self.release.next()
        return None if run is None else self.trial(run)

    def trial(self, run: str, **config: Any) -> Trial:
        """``run`` for Tune, with what its trainable is told beside its id."""
        self.out.add(run)
        return RunTrial(trial_id=run, experiment_tag=run, config={"run": run, **config}, **self._experiment)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.out.discard(trial_id)
        if error:
            self.release.fail(trial_id)
        elif result and result.get("done"):
            self.release.finish(trial_id)

    def is_finished(self) -> bool:
        return self._finished or self.closed or self.release.exhausted


class InOrder(FIFOScheduler):
    """Trials start in the order in which they are given, on workers that are free or in new ones.

    Tune's own would hand the worker of a trial that ended to one whose own worker is still starting, and stop that
    one: with trials shorter than such a start, one slot after the other would stand empty. It also looks through all
    trials, the finished ones too, at every event.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return None


class GrowingSearch(GraphSearch):
    """Gives Tune the runs of a graph that grows meanwhile, each with its spec beside its id."""

    def __init__(self, release: Release, store: Store, limit: int | None = None) -> None:
        super().__init__(release, limit)
        self.store = store

    def trial(self, run: str, **config: Any) -> Trial:
        return super().trial(run, spec=dump(self.release.graph.runs[run]), **config)

    def take(self, trial: TrialSpec) -> None:
        """A new point of the sweep: it, and what it misses to start, are to be run."""
        graph = self.release.graph
        new = graph.add_point(trial)
        runs = new if trial.id in new else [*new, trial.id]
        todo = unfinished(graph, runs, self.store.finished(), self.store.artifact_files(), self.store)
        self.release.add(run for run in runs if run in todo)

    def is_finished(self) -> bool:
        # What is running may add to the graph when it ends.
        return self._finished or self.closed or not self.release.open
