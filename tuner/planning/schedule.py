"""In which order the runs of a sweep start: cheapest figure first, what many wait for first, the longest first.

The runs of one shape follow each other: a worker that has just trained such a network keeps what it made for it.
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
    """The order that ``sweep`` asks for."""
    if sweep.order == "file":
        return file_order(graph)
    return (
        cheapest_figure_first(graph, todo, sweep.trials_by_figure) if sweep.order == "figures" else longest_first(graph)
    )


def longest_first(graph: RunGraph) -> Callable[[str], Key]:
    """What many wait for first; then shape by shape, costly ones first; within a shape the longest first."""

    def key(run: str) -> Key:
        spec, waiting = graph.runs[run], len(graph.dependents.get(run, ()))
        return (-waiting, -flops_per_image(spec), step_signature(spec), -training_flops(spec))

    return key


def cheapest_figure_first(
    graph: RunGraph, todo: Iterable[str], figures: Iterable[Iterable[str]]
) -> Callable[[str], Key]:
    """The cheapest of ``figures`` (each the ids of its trials) first, and within it :func:`longest_first`.

    A figure costs what of it, prerequisites included, is in ``todo``. What several share belongs to the first of them.
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
    """The order of the sweep file; a prerequisite just before the first trial that needs it."""
    place = {run: number for number, run in enumerate(graph.runs)}
    return lambda run: (place[run],)


def step_signature(spec: RunSpec) -> str:
    """Equal for runs whose steps are alike: what a worker made for the one serves the other."""
    trial = spec.trained_trial
    if trial is None:
        return ""
    names = (trial.dataset.name, trial.model.name, trial.difficulty.table_name, trial.recipe.precision)
    return sys.intern(" ".join([*names, str(trial.recipe.batch_size)]))
