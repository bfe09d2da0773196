"""In which order the runs of a sweep start: cheapest figure first, what many wait for first, the longest first.

The runs of one shape follow each other: a worker that has just trained such a network keeps what it made for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from sparsweep.trainables.specs.run import Spec
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.planning.estimate import cost, cost_of_image
from sparsweep.tuner.planning.graph import Graph, closure

Key = tuple[float | str, ...]
"""Runs start in ascending order of their keys."""


def order_of(sweep: Sweep, graph: Graph, todo: Iterable[str]) -> Callable[[str], Key]:
    """The order that ``sweep`` asks for."""
    if sweep.order == "file":
        return by_file(graph)
    return by_figure(graph, todo, sweep.parts) if sweep.order == "figures" else by_length(graph)


def by_length(graph: Graph) -> Callable[[str], Key]:
    """What many wait for first; then shape by shape, costly ones first; within a shape the longest first."""

    def key(run: str) -> Key:
        spec, waiting = graph.runs[run], len(graph.needed_by.get(run, ()))
        return (-waiting, -cost_of_image(spec), shape(spec), -cost(spec))

    return key


def by_figure(graph: Graph, todo: Iterable[str], figures: Iterable[Iterable[str]]) -> Callable[[str], Key]:
    """The cheapest of ``figures`` (each the ids of its trials) first, and within it :func:`by_length`.

    A figure costs what of it, prerequisites included, is in ``todo``. What several share belongs to the first of them.
    """
    missing = set(todo)
    parts = [closure(graph, figure) & missing for figure in figures]
    rank: dict[str, int] = {}
    for number, part in enumerate(sorted(parts, key=lambda part: sum(cost(graph.runs[run]) for run in part))):
        for run in part:
            rank.setdefault(run, number)
    within = by_length(graph)
    return lambda run: (rank.get(run, 0), *within(run))


def by_file(graph: Graph) -> Callable[[str], Key]:
    """The order of the sweep file; a prerequisite just before the first trial that needs it."""
    place = {run: number for number, run in enumerate(graph.runs)}
    return lambda run: (place[run],)


def shape(spec: Spec) -> str:
    """Equal for runs whose steps are alike: what a worker made for the one serves the other."""
    trial = spec.training
    if trial is None:
        return ""
    names = (trial.dataset.name, trial.model.name, trial.difficulty.label, trial.recipe.precision)
    return sys.intern(" ".join([*names, str(trial.recipe.batch_size)]))
