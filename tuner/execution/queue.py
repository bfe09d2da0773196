"""Releases runs to Tune as their prerequisites finish: no barrier between phases, every run under our own id."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable

from sparsweep.tuner.planning.graph import Graph
from sparsweep.tuner.planning.schedule import Key, by_length


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
