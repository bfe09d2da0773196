"""Trials and their prerequisites as one graph; what of it is done, missing, failed or blocked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sparsweep.trainables.runs.kinds import output_paths
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store


@dataclass
class RunGraph:
    """All runs of a sweep by id: its own trials (``points``) and everything that they need, each once.

    Prerequisites stand before what needs them. A search adds to it while it runs.
    """

    trials: dict[str, None] = field(default_factory=dict)
    runs: dict[str, RunSpec] = field(default_factory=dict)
    prerequisites: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dependents: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add_trial(self, trial: TrialSpec) -> list[str]:
        """Add a trial of the sweep, and what it needs; returns the ids that are new, prerequisites first."""
        self.trials[trial.id] = None
        return self._add(trial)

    def _add(self, spec: RunSpec) -> list[str]:
        if spec.id in self.runs:
            self.runs[spec.id] = self.runs[spec.id].merge(spec)
            return []
        required = spec.prerequisites()
        new = [run for requirement in required for run in self._add(requirement)]
        self.runs[spec.id] = spec
        self.prerequisites[spec.id] = tuple(dict.fromkeys(requirement.id for requirement in required))
        for need in self.prerequisites[spec.id]:
            self.dependents[need].append(spec.id)
        return [*new, spec.id]

    @property
    def prerequisite_runs(self) -> tuple[str, ...]:
        """Runs that are needed but are not points of the sweep."""
        return tuple(run for run in self.runs if run not in self.trials)


def build_graph(trials: Mapping[str, TrialSpec]) -> RunGraph:
    """The graph of ``trials``."""
    graph = RunGraph()
    for trial in trials.values():
        graph.add_trial(trial)
    return graph


@dataclass(frozen=True)
class SweepState:
    """What the store says of a graph.

    ``todo``: the runs that have to be made, points and prerequisites; of these ``failed`` failed the last time they
    were tried and ``blocked`` wait for a failed one (by the run that blocks them).
    """

    graph: RunGraph
    todo: frozenset[str]
    failed: frozenset[str]
    blocked: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> frozenset[str]:
        """The runs to make that neither failed nor wait for one that failed."""
        return self.todo - self.failed - self.blocked.keys()

    def retried(self) -> SweepState:
        """The same with nothing held back: what failed is to be tried again."""
        return SweepState(self.graph, self.todo, frozenset())

    def trials_in(self, runs: Iterable[str]) -> list[str]:
        """Those of ``runs`` that are points of the sweep, in its order."""
        chosen = set(runs)
        return [point for point in self.graph.trials if point in chosen]


def compute_state(graph: RunGraph, store: Store) -> SweepState:
    """Ask the store what of ``graph`` is left to do: one listing a folder, whatever the number of trials."""
    return _state(graph, missing_runs(graph, graph.runs, store.finished(), store.artifact_paths(), store), store)


def compute_artifact_state(graph: RunGraph, runs: Collection[str], store: Store) -> SweepState:
    """Ask the store which of ``runs`` have lost an artifact, and what is missing to make it again.

    Args:
        graph: The graph of a sweep.
        runs: Runs of it whose artifacts are wanted. All other runs are left as they are.
        store: The storage.
    """
    wanted = closure(graph, runs)
    order = [run for run in graph.runs if run in wanted]
    todo = missing_runs(graph, order, wanted, store.artifact_paths(), store, remade=runs)
    return _state(graph, todo, store)


def _state(graph: RunGraph, todo: set[str], store: Store) -> SweepState:
    failed = todo & store.failures().keys()
    return SweepState(graph, frozenset(todo), frozenset(failed), blocked_runs(graph, todo, failed))


def missing_runs(
    graph: RunGraph,
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
        wanted = run in remade or any(dependent in todo for dependent in graph.dependents.get(run, ()))
        if (run in graph.trials and run not in finished) or (
            wanted and not artifacts_of(graph.runs[run], store) <= artifacts
        ):
            todo.add(run)
    return todo


def closure(graph: RunGraph, runs: Iterable[str]) -> set[str]:
    """``runs`` and everything that they need, at any distance."""
    found: set[str] = set()
    left = list(runs)
    while left:
        run = left.pop()
        if run not in found:
            found.add(run)
            left += graph.prerequisites[run]
    return found


def artifacts_of(spec: RunSpec, store: Store) -> set[str]:
    """The files that dependents of ``spec`` need."""
    return {path for path in output_paths(spec, store) if path.startswith("artifacts/")}


def blocked_runs(graph: RunGraph, todo: set[str], failed: set[str]) -> dict[str, str]:
    """The runs in ``todo`` that cannot start because something they need, at any distance, failed; and what it is."""
    blocked: dict[str, str] = {}
    for run in graph.runs:  # prerequisites first
        if run not in todo or run in failed:
            continue
        for need in graph.prerequisites[run]:
            if need in failed or need in blocked:
                blocked[run] = need if need in failed else blocked[need]
                break
    return blocked
