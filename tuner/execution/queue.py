"""Releases runs to Tune as their prerequisites finish: no barrier between phases, every run under our own id."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable

from sparsweep.tuner.planning.graph import RunGraph
from sparsweep.tuner.planning.schedule import Key, longest_first


class RunQueue:
    """The order of a graph's runs: what may start now, and what each end sets free.

    Adding, releasing and finishing a run costs O(log n), whatever the size of the graph; failing one, what it blocks.
    ``order`` gives the key of a run: of those that may start, the one with the smallest starts first.
    """

    def __init__(self, graph: RunGraph, todo: frozenset[str], order: Callable[[str], Key] | None = None) -> None:
        self.graph = graph
        self.unmet: dict[str, set[str]] = {}
        self.pending: set[str] = set()
        self.failed: set[str] = set()
        self._order = order or longest_first(graph)
        self._ready: list[tuple[Key, int, str]] = []
        self._count = itertools.count()
        self.add(run for run in graph.runs if run in todo)

    def add(self, runs: Iterable[str]) -> None:
        """Runs of the graph that are to be made, prerequisites first."""
        new = [run for run in runs if run not in self.pending]
        self.pending.update(new)
        for run in new:
            self.unmet[run] = {need for need in self.graph.prerequisites[run] if need in self.pending}
        for run in new:
            self._push_if_ready(run)

    def _push_if_ready(self, run: str) -> None:
        """Make ``run`` ready if it waits for nothing."""
        if not self.unmet[run]:
            del self.unmet[run]
            heapq.heappush(self._ready, (self._order(run), next(self._count), run))

    def next(self) -> str | None:
        """A run to start now, or None if all others wait for one that is running."""
        if not self._ready:
            return None
        return heapq.heappop(self._ready)[-1]

    def finish(self, run: str) -> None:
        """``run`` is done: what waited for it alone becomes ready."""
        self.pending.discard(run)
        for dependent in self.graph.dependents.get(run, ()):
            if dependent in self.unmet:
                self.unmet[dependent].discard(run)
                self._push_if_ready(dependent)

    def fail(self, run: str) -> list[str]:
        """``run`` failed for good: what needs it, at any distance, is blocked, and returned."""
        self.failed.add(run)
        self.pending.discard(run)
        blocked, left = [], [run]
        while left:
            for dependent in self.graph.dependents.get(left.pop(), ()):
                if dependent in self.unmet:
                    del self.unmet[dependent]
                    self.pending.discard(dependent)
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
        return not self._ready and not self.unmet
