"""Trials and their prerequisites as one graph; what of it is done, missing, failed or blocked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sparsweep.trainables.runs.kinds import leaves
from sparsweep.trainables.specs.run import Spec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store


@dataclass
class Graph:
    """All runs of a sweep by id: its own trials (``points``) and everything that they need, each once.

    Prerequisites stand before what needs them. A search adds to it while it runs.
    """

    points: dict[str, None] = field(default_factory=dict)
    runs: dict[str, Spec] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    needed_by: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add_point(self, trial: TrialSpec) -> list[str]:
        """Add a trial of the sweep, and what it needs; returns the ids that are new, prerequisites first."""
        self.points[trial.id] = None
        return self._add(trial)

    def _add(self, spec: Spec) -> list[str]:
        if spec.id in self.runs:
            self.runs[spec.id] = self.runs[spec.id].join(spec)
            return []
        required = spec.requirements()
        new = [run for requirement in required for run in self._add(requirement)]
        self.runs[spec.id] = spec
        self.needs[spec.id] = tuple(dict.fromkeys(requirement.id for requirement in required))
        for need in self.needs[spec.id]:
            self.needed_by[need].append(spec.id)
        return [*new, spec.id]

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """Runs that are needed but are not points of the sweep."""
        return tuple(run for run in self.runs if run not in self.points)


def build(trials: Mapping[str, TrialSpec]) -> Graph:
    """The graph of ``trials``."""
    graph = Graph()
    for trial in trials.values():
        graph.add_point(trial)
    return graph


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
    return _state(graph, unfinished(graph, graph.runs, store.finished(), store.artifact_files(), store), store)


def examine_artifacts(graph: Graph, runs: Collection[str], store: Store) -> State:
    """Ask the store which of ``runs`` have lost an artifact, and what is missing to make it again.

    Args:
        graph: The graph of a sweep.
        runs: Runs of it whose artifacts are wanted. All other runs are left as they are.
        store: The storage.
    """
    wanted = closure(graph, runs)
    order = [run for run in graph.runs if run in wanted]
    todo = unfinished(graph, order, wanted, store.artifact_files(), store, remade=runs)
    return _state(graph, todo, store)


def _state(graph: Graph, todo: set[str], store: Store) -> State:
    failed = todo & store.failures().keys()
    return State(graph, frozenset(todo), frozenset(failed), find_blocked(graph, todo, failed))


def unfinished(
    graph: Graph,
    runs: Iterable[str],
    finished: set[str],
    artifacts: set[str],
    store: Store,
    remade: Collection[str] = (),
) -> set[str]:
    """Return the runs that have to be made: points without a result, and what they miss to start.

    Args:
        graph: The graph that holds ``runs``.
        runs: The runs to look at, prerequisites first.
        finished: Ids of trials with a result.
        artifacts: Paths of all artifacts that there are.
        store: The storage, which names the artifacts of a run.
        remade: Runs whose own artifacts are wanted, though nothing may be left that needs them.
    """
    todo: set[str] = set()
    # Backwards, so that a prerequisite is looked at after everything that may need it.
    for run in reversed(list(runs)):
        wanted = run in remade or any(dependent in todo for dependent in graph.needed_by.get(run, ()))
        if (run in graph.points and run not in finished) or (
            wanted and not artifacts_of(graph.runs[run], store) <= artifacts
        ):
            todo.add(run)
    return todo


def closure(graph: Graph, runs: Iterable[str]) -> set[str]:
    """``runs`` and everything that they need, at any distance."""
    found: set[str] = set()
    left = list(runs)
    while left:
        run = left.pop()
        if run not in found:
            found.add(run)
            left += graph.needs[run]
    return found


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
