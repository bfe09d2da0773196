"""Which scoring runs ranked the training samples of a sweep: what Figure 1 shows examples of."""

from __future__ import annotations

from collections.abc import Iterable

from sparsweep.trainables.specs.trial import ScoringSpec, TrialSpec


def rankings(trials: Iterable[TrialSpec]) -> list[tuple[str, tuple[str, ...]]]:
    """JSON of a data set, and the ids of the runs whose scores were averaged: one for each that ``trials`` used."""
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for trial in trials:
        runs = tuple(need.id for need in trial.requirements() if isinstance(need, ScoringSpec))
        if runs:
            found[trial.dataset.model_dump_json(), runs] = None
    return list(found)
