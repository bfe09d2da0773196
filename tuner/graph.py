"""Trials and their prerequisites as one graph; what of it is done, missing, failed or blocked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from trainables.runs import leaves
from trainables.spec import Spec, TrialSpec
from trainables.store import Store


@dataclass(frozen=True)
class Graph:
    """All runs of a sweep by id: its own trials (``points``) and everything that they need, each once."""

    points: tuple[str, ...]
    runs: Mapping[str, Spec]
    needs: Mapping[str, tuple[str, ...]]

    @cached_property
    def needed_by(self) -> dict[str, list[str]]:
        """The runs that wait for each run."""
        waiting: dict[str, list[str]] = defaultdict(list)
        for run, needs in self.needs.items():
            for need in needs:
                waiting[need].append(run)
        return waiting

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """Runs that are needed but are not points of the sweep."""
        points = set(self.points)
        return tuple(run for run in self.runs if run not in points)


def build(trials: Mapping[str, TrialSpec]) -> Graph:
    """The graph of ``trials``. Prerequisites stand before what needs them."""
    runs: dict[str, Spec] = {}
    needs: dict[str, tuple[str, ...]] = {}

    def add(spec: Spec) -> None:
        if spec.id in runs:
            runs[spec.id] = runs[spec.id].join(spec)
            return
        required = spec.requirements()
        for requirement in required:
            add(requirement)
        runs[spec.id] = spec
        needs[spec.id] = tuple(dict.fromkeys(requirement.id for requirement in required))

    for trial in trials.values():
        add(trial)
    return Graph(tuple(trials), runs, needs)


@dataclass(frozen=True)
class State:
    """What the store says of a graph.

    ``todo``: the runs that have to be made, points and prerequisites; of these ``failed`` failed the last time they
    were tried and ``blocked`` wait for a failed one (by the run that blocks them).
    """

    graph: Graph
    todo: frozenset[str]
    failed: frozenset[str]
    blocked: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> frozenset[str]:
        """The runs to make that neither failed nor wait for one that failed."""
        return self.todo - self.failed - self.blocked.keys()

    def retried(self) -> State:
        """The same with nothing held back: what failed is to be tried again."""
        return State(self.graph, self.todo, frozenset())

    def points_in(self, runs: Iterable[str]) -> list[str]:
        """Those of ``runs`` that are points of the sweep, in its order."""
        chosen = set(runs)
        return [point for point in self.graph.points if point in chosen]


def examine(graph: Graph, store: Store) -> State:
    """Ask the store what of ``graph`` is left to do: one listing a folder, whatever the number of trials."""
    finished = store.finished()
    files = store.artifact_files()
    todo: set[str] = {point for point in graph.points if point not in finished}
    # Backwards, so that a prerequisite is looked at after everything that may need it.
    for run in reversed(list(graph.runs)):
        wanted = any(dependent in todo for dependent in graph.needed_by.get(run, ()))
        if wanted and not artifacts_of(graph.runs[run], store) <= files:
            todo.add(run)
    failed = todo & store.failures().keys()
    return State(graph, frozenset(todo), frozenset(failed), find_blocked(graph, todo, failed))


def artifacts_of(spec: Spec, store: Store) -> set[str]:
    """The files that dependents of ``spec`` need."""
    return {path for path in leaves(spec, store) if path.startswith("artifacts/")}


def find_blocked(graph: Graph, todo: set[str], failed: set[str]) -> dict[str, str]:
    """The runs in ``todo`` that cannot start because something they need, at any distance, failed; and what it is."""
    blocked: dict[str, str] = {}
    for run in graph.runs:  # prerequisites first
        if run not in todo or run in failed:
            continue
        for need in graph.needs[run]:
            if need in failed or need in blocked:
                blocked[run] = need if need in failed else blocked[need]
                break
    return blocked
