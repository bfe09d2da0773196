"""Start order of the runs of a sweep: cheapest figure first, then runs with many dependents, then the longest.

Runs with equal steps are adjacent, because a worker reuses its compiled and captured steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.planning.estimate import flops_per_image, training_flops
from sparsweep.tuner.planning.graph import RunGraph, closure

Key = tuple[float | str, ...]
"""Runs start in ascending order of their keys."""


def scheduling_key(sweep: Sweep, graph: RunGraph, todo: Iterable[str]) -> Callable[[str], Key]:
    """Return the sort key for the order of ``sweep``.

    Args:
        sweep: The sweep.
        graph: Its runs.
        todo: Ids of the missing runs.
    """
    if sweep.order == "file":
        return file_order(graph)
    return (
        cheapest_figure_first(graph, todo, sweep.trials_by_figure) if sweep.order == "figures" else longest_first(graph)
    )


def longest_first(graph: RunGraph) -> Callable[[str], Key]:
    """Return a key: most dependents first, then most FLOPs per image, then by step signature, then most FLOPs."""

    def key(run: str) -> Key:
        spec, num_dependents = graph.runs[run], len(graph.dependents.get(run, ()))
        return (-num_dependents, -flops_per_image(spec), step_signature(spec), -training_flops(spec))

    return key


def cheapest_figure_first(
    graph: RunGraph, todo: Iterable[str], figures: Iterable[Iterable[str]]
) -> Callable[[str], Key]:
    """Return a key: cheapest figure first, and :func:`longest_first` within a figure.

    Args:
        graph: All runs.
        todo: Ids of the missing runs.
        figures: Trial ids of each figure. The cost of a figure is the FLOPs of its missing runs and prerequisites.
            Shared runs belong to the first figure.
    """
    missing = set(todo)
    parts = [closure(graph, figure) & missing for figure in figures]
    rank: dict[str, int] = {}
    for number, part in enumerate(sorted(parts, key=lambda part: sum(training_flops(graph.runs[run]) for run in part))):
        for run in part:
            rank.setdefault(run, number)
    within = longest_first(graph)
    return lambda run: (rank.get(run, 0), *within(run))


def file_order(graph: RunGraph) -> Callable[[str], Key]:
    """Return a key for the order of the sweep file, each prerequisite before the first trial that needs it."""
    place = {run: number for number, run in enumerate(graph.runs)}
    return lambda run: (place[run],)


def step_signature(spec: RunSpec) -> str:
    """Return a string that is equal for runs with equal training steps, for which a worker can reuse its setup."""
    trial = spec.trained_trial
    if trial is None:
        return ""
    names = (trial.dataset.name, trial.model.name, trial.difficulty.table_name, trial.recipe.precision)
    return sys.intern(" ".join([*names, str(trial.recipe.batch_size)]))
