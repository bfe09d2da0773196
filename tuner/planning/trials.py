"""The trials that a sweep has by now, in this storage: grids are known beforehand; searches, growing seeds are not."""

from __future__ import annotations

from collections.abc import Iterable

from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.state.suggestions import suggestions


def current_trials(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """The trials of a sweep by id: those of its grids, with the seeds that they have grown to, or of its search.

    A suggestion that was stopped early, or that can be no trial, is none of them.
    """
    if sweep.search is not None:
        return {made.spec.id: made.spec for made in suggestions(sweep.name, store) if made.spec and made.ended is None}
    if sweep.seeds is not None:
        from sparsweep.tuner.search.adaptive_seeds import load_plan  # SciPy's statistics take a second to import

        return load_plan(sweep, store).trials
    return sweep.trials


def score_rankings(trials: Iterable[TrialSpec]) -> list[tuple[str, tuple[str, ...]]]:
    """JSON of a data set, and the ids of the runs whose scores were averaged: one for each that ``trials`` used."""
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for trial in trials:
        runs = tuple(need.id for need in trial.prerequisites() if isinstance(need, ScoringSpec))
        if runs:
            found[trial.dataset.model_dump_json(), runs] = None
    return list(found)
