"""Current trials of a sweep in a storage. Trials of searches and adaptive seeds depend on stored results."""

from __future__ import annotations

from collections.abc import Iterable

from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.state.suggestions import suggestions


def current_trials(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """Return the current trials of a sweep by id: its grids with all adaptive seeds so far, or its suggestions so far.

    Excludes suggestions that were stopped early or are invalid.
    """
    if sweep.search is not None:
        return {made.spec.id: made.spec for made in suggestions(sweep.name, store) if made.spec and made.ended is None}
    if sweep.seeds is not None:
        from sparsweep.tuner.search.adaptive_seeds import load_plan  # slow import: scipy.stats takes about 1 s

        return load_plan(sweep, store).trials
    return sweep.trials


def score_rankings(trials: Iterable[TrialSpec]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each ranking that ``trials`` use: the JSON of the data set, and the ids of the averaged scoring runs."""
    rankings: dict[tuple[str, tuple[str, ...]], None] = {}
    for trial in trials:
        runs = tuple(need.id for need in trial.prerequisites() if isinstance(need, ScoringSpec))
        if runs:
            rankings[trial.dataset.model_dump_json(), runs] = None
    return list(rankings)
