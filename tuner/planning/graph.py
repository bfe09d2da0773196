"""Graph of trials, prerequisites and evaluations, and its state: finished, missing, failed and blocked runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sparsweep.trainables.runs.kinds import output_paths
from sparsweep.trainables.runs.measurements import measurement_paths
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.listing import StorageListing
from sparsweep.trainables.storage.store import Store


@dataclass
class RunGraph:
    """All runs of a sweep: its own trials and their prerequisites, without duplicates. A search adds runs later.

    Attributes:
        trials: Ids of the sweep's own trials, in order (an ordered set).
        runs: All runs by id, prerequisites before their dependents.
        prerequisites: Ids of the direct prerequisites of each run.
        dependents: Ids of the runs that directly need a run.
        evaluations: Ids of the runs that evaluate finished trials (an ordered set).
    """

    trials: dict[str, None] = field(default_factory=dict)
    runs: dict[str, RunSpec] = field(default_factory=dict)
    prerequisites: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dependents: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    evaluations: dict[str, None] = field(default_factory=dict)

    def add_trial(self, trial: TrialSpec) -> list[str]:
        """Add a trial and its prerequisites. Return the new ids, prerequisites first."""
        self.trials[trial.id] = None
        return self._add(trial)

    def add_evaluation(self, trial: TrialSpec) -> str:
        """Add the evaluation of a finished trial, and return its id."""
        evaluation = EvaluationSpec(trial=trial)
        self.evaluations[evaluation.id] = None
        self._add(evaluation)
        return evaluation.id

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
        """Ids of prerequisites that are not trials of the sweep itself."""
        return tuple(run for run in self.runs if run not in self.trials and run not in self.evaluations)


def build_graph(trials: Mapping[str, TrialSpec]) -> RunGraph:
    """Return the graph of ``trials`` and their prerequisites."""
    graph = RunGraph()
    for trial in trials.values():
        graph.add_trial(trial)
    return graph


@dataclass(frozen=True)
class SweepState:
    """State of a graph in a storage.

    Attributes:
        graph: The runs.
        todo: Missing runs, trials and prerequisites.
        failed: Missing runs whose last attempt failed.
        blocked: Missing runs that need a failed run: blocked id to failed id.
    """

    graph: RunGraph
    todo: frozenset[str]
    failed: frozenset[str]
    blocked: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> frozenset[str]:
        """Missing runs that are neither failed nor blocked."""
        return self.todo - self.failed - self.blocked.keys()

    @property
    def evaluations(self) -> frozenset[str]:
        """Missing evaluations of finished trials."""
        return self.todo & self.graph.evaluations.keys()

    def retried(self) -> SweepState:
        """Return the state with all failed and blocked runs ready for a retry."""
        return SweepState(self.graph, self.todo, frozenset())

    def trials_in(self, runs: Iterable[str]) -> list[str]:
        """Return the trials of the sweep among ``runs``, in the order of the sweep."""
        chosen = set(runs)
        return [trial for trial in self.graph.trials if trial in chosen]


def compute_state(graph: RunGraph, store: Store, listing: StorageListing | None = None) -> SweepState:
    """Compute what remains to do.

    Args:
        graph: The runs of a sweep.
        store: The storage.
        listing: Contents of ``store``, if the caller has listed them already.
    """
    held = listing or store.listing()
    runs = [run for run in graph.runs if run not in graph.evaluations]
    todo = missing_runs(graph, runs, held.finished, held.artifacts, store)
    return _state(graph, todo | _missing_evaluations(graph, todo, held, store), held)


def _missing_evaluations(graph: RunGraph, todo: set[str], held: StorageListing, store: Store) -> set[str]:
    """Add evaluations of finished trials with weights and without outcomes. Return them and what they need."""
    due = [
        graph.add_evaluation(spec)
        for run, spec in list(graph.runs.items())
        if isinstance(spec, TrialSpec)
        and run in held.finished
        and run not in todo
        and store.artifact_path("weights", run) in held.artifacts
        and not held.outcomes.issuperset(measurement_paths(spec, store))
    ]
    needs = {need for evaluation in due for need in graph.prerequisites[evaluation]}
    wanted = closure(graph, needs)
    order = [run for run in graph.runs if run in wanted]
    return {*due, *missing_runs(graph, order, held.finished, held.artifacts, store, remade=needs)}


def compute_artifact_state(graph: RunGraph, runs: Collection[str], store: Store) -> SweepState:
    """Compute which runs must repeat because artifacts were deleted.

    Args:
        graph: The runs of a sweep.
        runs: Runs whose artifacts are required. Other runs only repeat if these need them.
        store: The storage.
    """
    wanted = closure(graph, runs)
    order = [run for run in graph.runs if run in wanted]
    held = store.listing()
    return _state(graph, missing_runs(graph, order, wanted, held.artifacts, store, remade=runs), held)


def _state(graph: RunGraph, todo: set[str], listing: StorageListing) -> SweepState:
    failed = todo & listing.failures.keys()
    return SweepState(graph, frozenset(todo), frozenset(failed), blocked_runs(graph, todo, failed))


def missing_runs(
    graph: RunGraph,
    runs: Iterable[str],
    finished: AbstractSet[str],
    artifacts: AbstractSet[str],
    store: Store,
    remade: Collection[str] = (),
) -> set[str]:
    """Return the missing runs: trials without a result, and prerequisites without their artifacts.

    Args:
        graph: The graph that contains ``runs``.
        runs: The runs to check, prerequisites first.
        finished: Ids of trials with a result.
        artifacts: Paths of all existing artifacts.
        store: The storage, which defines the artifact paths of a run.
        remade: Runs whose artifacts are required even if no missing run needs them.
    """
    todo: set[str] = set()
    # Reverse order, because a prerequisite is only missing if one of its dependents is missing.
    for run in reversed(list(runs)):
        wanted = run in remade or any(dependent in todo for dependent in graph.dependents.get(run, ()))
        if (run in graph.trials and run not in finished) or (
            wanted and not artifacts_of(graph.runs[run], store) <= artifacts
        ):
            todo.add(run)
    return todo


def closure(graph: RunGraph, runs: Iterable[str]) -> set[str]:
    """Return ``runs`` and all their direct and indirect prerequisites."""
    visited: set[str] = set()
    stack = list(runs)
    while stack:
        run = stack.pop()
        if run not in visited:
            visited.add(run)
            stack += graph.prerequisites[run]
    return visited


def artifacts_of(spec: RunSpec, store: Store) -> set[str]:
    """Return the paths of the files that dependents of ``spec`` need."""
    return {path for path in output_paths(spec, store) if path.startswith("artifacts/")}


def blocked_runs(graph: RunGraph, todo: set[str], failed: set[str]) -> dict[str, str]:
    """Return the blocked runs: runs in ``todo`` with a failed direct or indirect prerequisite.

    Args:
        graph: The runs of a sweep.
        todo: Missing runs.
        failed: Missing runs that failed.

    Returns:
        Blocked id to failed id.
    """
    blocked: dict[str, str] = {}
    for run in graph.runs:  # prerequisites first
        if run not in todo or run in failed:
            continue
        for need in graph.prerequisites[run]:
            if need in failed or need in blocked:
                blocked[run] = need if need in failed else blocked[need]
                break
    return blocked
