"""Releases runs to Tune as their prerequisites finish: no barrier between phases, every run under our own id."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import Any

from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search import SearchAlgorithm

from trainables.spec import TrialSpec, dump
from trainables.store import Store
from tuner.graph import Graph, find_blocked, unfinished
from tuner.price import cost


class Release:
    """The order of a graph's runs: what may start now, and what each end sets free (O(log n) a run)."""

    def __init__(self, graph: Graph, todo: frozenset[str]) -> None:
        self.graph = graph
        self.waiting: dict[str, set[str]] = {}
        self.open: set[str] = set()
        self.failed: set[str] = set()
        self._ready: list[tuple[int, float, int, str]] = []
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
        """Make ``run`` ready if it waits for nothing. Prerequisites of many come first, long ones before short ones."""
        if not self.waiting[run]:
            del self.waiting[run]
            urgency = -len(self.graph.needed_by.get(run, ()))
            heapq.heappush(self._ready, (urgency, -cost(self.graph.runs[run]), next(self._count), run))

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
        """``run`` failed for good: what needs it is blocked, and returned."""
        self.failed.add(run)
        self.open.discard(run)
        blocked = list(find_blocked(self.graph, set(self.waiting), self.failed))
        for dependent in blocked:
            del self.waiting[dependent]
            self.open.discard(dependent)
        return blocked

    @property
    def has_ready(self) -> bool:
        """Whether something can start now."""
        return bool(self._ready)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to start, now or later."""
        return not self._ready and not self.waiting


class GraphSearch(SearchAlgorithm):
    """Gives Tune the runs of a :class:`Release`, each as a trial whose id is the run's and whose config is that id."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self._parser = _make_parser()
        self._experiment: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher once at the start, for a restore that is never made: the store is the truth.
        return {}

    def add_configurations(self, experiments: list[Experiment]) -> None:
        (experiment,) = experiments
        self._experiment = dict(experiment.spec)

    @property
    def total_samples(self) -> int:
        return len(self.release.graph.runs)

    def next_trial(self) -> Trial | None:
        run = self.release.next()
        if run is None:
            return None
        spec = {**self._experiment, "config": {"run": run}}
        return _create_trial_from_spec(spec, self._parser, trial_id=run, experiment_tag=run)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if error:
            self.release.fail(trial_id)
        elif result and result.get("done"):
            self.release.finish(trial_id)

    def is_finished(self) -> bool:
        return self._finished or self.release.exhausted


class GrowingSearch(GraphSearch):
    """Gives Tune the runs of a graph that grows meanwhile, each with its spec beside its id."""

    def __init__(self, release: Release, store: Store) -> None:
        super().__init__(release)
        self.store = store

    def next_trial(self) -> Trial | None:
        run = self.release.next()
        if run is None:
            return None
        config = {"run": run, "spec": dump(self.release.graph.runs[run])}
        return _create_trial_from_spec(
            {**self._experiment, "config": config}, self._parser, trial_id=run, experiment_tag=run
        )

    def take(self, trial: TrialSpec) -> None:
        """A new point of the sweep: it, and what it misses to start, are to be run."""
        graph = self.release.graph
        new = graph.add_point(trial)
        runs = new if trial.id in new else [*new, trial.id]
        todo = unfinished(graph, runs, self.store.finished(), self.store.artifact_files(), self.store)
        self.release.add(run for run in runs if run in todo)

    def is_finished(self) -> bool:
        # What is running may add to the graph when it ends.
        return self._finished or not self.release.open
