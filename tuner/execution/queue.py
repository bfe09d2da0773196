"""Priority queue of runs that become ready as their prerequisites finish, without barriers between phases."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable

from sparsweep.tuner.planning.graph import RunGraph
from sparsweep.tuner.planning.schedule import Key, longest_first


class RunQueue:
    """Queue of the ready runs of a graph.

    Adding, starting and finishing a run cost O(log n) each. A failure costs O(number of blocked runs).

    Args:
        graph: All runs.
        todo: Ids of the missing runs.
        order: Sort key of a run; the ready run with the smallest key starts first. Default: longest first.

    Attributes:
        unmet: Unfinished prerequisites of each waiting run.
        pending: Ids of runs that are neither finished nor failed nor blocked.
        failed: Ids of failed runs.
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
        """Add missing runs of the graph, prerequisites first."""
        new = [run for run in runs if run not in self.pending]
        self.pending.update(new)
        for run in new:
            self.unmet[run] = {need for need in self.graph.prerequisites[run] if need in self.pending}
        for run in new:
            self._push_if_ready(run)

    def _push_if_ready(self, run: str) -> None:
        """Make ``run`` ready if all its prerequisites are finished."""
        if not self.unmet[run]:
            del self.unmet[run]
            heapq.heappush(self._ready, (self._order(run), next(self._count), run))

    def next(self) -> str | None:
        """Return the next run to start, or None if no run is ready."""
        if not self._ready:
            return None
        return heapq.heappop(self._ready)[-1]

    def finish(self, run: str) -> None:
        """Mark ``run`` as finished. Dependents without other unfinished prerequisites become ready."""
        self.pending.discard(run)
        for dependent in self.graph.dependents.get(run, ()):
            if dependent in self.unmet:
                self.unmet[dependent].discard(run)
                self._push_if_ready(dependent)

    def fail(self, run: str) -> list[str]:
        """Mark ``run`` as failed. Block and return its direct and indirect dependents."""
        self.failed.add(run)
        self.pending.discard(run)
        blocked, stack = [], [run]
        while stack:
            for dependent in self.graph.dependents.get(stack.pop(), ()):
                if dependent in self.unmet:
                    del self.unmet[dependent]
                    self.pending.discard(dependent)
                    blocked.append(dependent)
                    stack.append(dependent)
        return blocked

    @property
    def has_ready(self) -> bool:
        """Whether a run can start now."""
        return bool(self._ready)

    @property
    def exhausted(self) -> bool:
        """Whether no run is left to start, now or later."""
        return not self._ready and not self.unmet
