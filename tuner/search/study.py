"""A search as an Optuna study: every suggestion is a trial of ours, kept in the storage before it is run.

A study is made anew from the suggestions that the storage has: what is finished is told again from the result tables,
what is not is run and not suggested again.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import deque
from collections.abc import Callable

import numpy as np
import optuna
from optuna import samplers
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from sparsweep.trainables.specs.base import format_error, shortened
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.grid import SweepError, merge
from sparsweep.tuner.config.space import sample
from sparsweep.tuner.config.sweep import Search, Sweep
from sparsweep.tuner.state.suggestions import Suggestion, numbers, save, suggestions

log = logging.getLogger(__name__)

SAMPLERS: dict[str, Callable[[Search, int], BaseSampler]] = {
    "tpe": lambda search, own: samplers.TPESampler(seed=own, multivariate=True, group=True),
    "gp": lambda search, own: samplers.GPSampler(seed=own, warn_independent_sampling=False),
    "nsga2": lambda search, own: samplers.NSGAIISampler(seed=own, population_size=search.population),
    "random": lambda search, own: samplers.RandomSampler(seed=own),
    "qmc": lambda search, own: samplers.QMCSampler(
        seed=search.sampler_seed,  # one sequence for all suggestions
        independent_sampler=samplers.RandomSampler(seed=own),
        warn_independent_sampling=False,
    ),
}
"""By name, from the search and a suggestion's own seed."""
SEQUENTIAL_SAMPLERS = {"nsga2", "qmc"}
"""Samplers that keep count, in the study, of what they were asked for: generations, the place in a sequence."""


def sampler(search: Search, number: int) -> BaseSampler:
    """What makes the ``number``-th suggestion: a function of the seed, the number and what was told before.

    So a study that is made anew goes on where it was, and does not draw again what it drew at its beginning.
    """
    own = int(np.random.SeedSequence([search.sampler_seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[search.sampler](search, own)


class OptunaStudy:
    """The search of a sweep: :meth:`ask` for trials, :meth:`finished` or :meth:`tell_failed` for each."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        assert sweep.search is not None
        self.sweep, self.store, self.search = sweep, store, sweep.search
        self.study = new_study(self.search)
        self.open_trials: dict[str, list[optuna.Trial]] = {}
        taken = numbers(sweep.name, store)
        self.next_number = deque(number for number in range(self.search.trials) if number not in taken)
        self.pending: list[TrialSpec] = []
        for suggestion in suggestions(sweep.name, store):
            self._replay(suggestion)

    def _replay(self, suggestion: Suggestion) -> None:
        """Take up an earlier suggestion: told if its end is known, to be run if not."""
        self.study.enqueue_trial(dict(suggestion.params))
        self.study.sampler = sampler(self.search, suggestion.number)
        trial = self.study.ask()
        if self.search.sampler in SEQUENTIAL_SAMPLERS:
            _ = trial.relative_params  # made only when they are asked for
        known = self._drawn(trial, suggestion)
        if not known or suggestion.spec is None:
            self.study.tell(trial, state=TrialState.FAIL)
            if suggestion.spec is not None and self.values(suggestion.spec) is None:
                self.pending.append(suggestion.spec)
            return
        _label(trial, suggestion.number, suggestion.spec)
        self.open_trials.setdefault(suggestion.spec.id, []).append(trial)
        if suggestion.ended:
            self._tell(suggestion.spec.id, None, TrialState.PRUNED)
        elif (values := self.values(suggestion.spec)) is not None:
            self._tell(suggestion.spec.id, values)
        else:
            self.pending.append(suggestion.spec)

    def _drawn(self, trial: optuna.Trial, suggestion: Suggestion) -> bool:
        """Draw what ``suggestion`` was from the space; False if its parameters are of no kind that the space has."""
        try:
            sample(self.search.space, trial)
        except (ValueError, TypeError) as error:
            why = shortened(str(error))
            log.warning("%s: suggestion %d tells the search nothing: %s", self.sweep.name, suggestion.number, why)
            return False
        return True

    def ask(self) -> TrialSpec | None:
        """The next trial to run, or None if as many as the search may try were suggested.

        A suggestion that is finished in the storage, by whichever sweep, is told at once and not returned.
        """
        if self.pending:
            return self.pending.pop(0)
        while self.next_number:
            number = self.next_number.popleft()
            self.study.sampler = sampler(self.search, number)
            trial = self.study.ask()
            try:
                spec = suggested_spec(self.sweep, trial)
            except SweepError as error:
                log.warning("%s: suggestion %d is left out: %s", self.sweep.name, number, error)
                save(self.sweep.name, self.store, Suggestion(number, None, trial.params, "impossible"))
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            _label(trial, number, spec)
            already_open = spec.id in self.open_trials
            self.open_trials.setdefault(spec.id, []).append(trial)
            save(self.sweep.name, self.store, Suggestion(number, spec, trial.params))
            values = self.values(spec)
            if values is not None:
                self._tell(spec.id, values)
            elif not already_open:
                return spec
        return None

    def tell_finished(self, spec: TrialSpec) -> None:
        """``spec`` has its row in the results."""
        self._tell(spec.id, self.values(spec))

    def tell_failed(self, spec: TrialSpec, why: str) -> None:
        """``spec`` came to no result: it ``failed``, or was ``pruned``. A failure may be retried by a resume."""
        for trial in self.open_trials.get(spec.id, []):
            if why == "pruned":
                save(self.sweep.name, self.store, Suggestion(trial.user_attrs[NUMBER], spec, trial.params, why))
        self._tell(spec.id, None, TrialState.PRUNED if why == "pruned" else TrialState.FAIL)

    def values(self, spec: RunSpec) -> list[float] | None:
        """What the search is after, of a finished trial; None if it is not finished."""
        if not self.store.is_finished(spec.id):
            return None
        table, _ = tables.read_table(self.store.storage, "trials", [spec.id], list(self.search.objectives))
        if not table.num_rows:
            return None
        row = table.to_pylist()[0]
        return [math.nan if row[name] is None else row[name] for name in self.search.objectives]

    def _tell(self, run: str, values: list[float] | None, otherwise: TrialState = TrialState.FAIL) -> None:
        # Optuna refuses NaN and would leave its trial running for ever: what has no number has failed.
        known = values is not None and not any(math.isnan(value) for value in values)
        for trial in self.open_trials.pop(run, []):
            if known:
                self.study.tell(trial, values)
            else:
                self.study.tell(trial, state=otherwise)

    def format_best(self) -> list[str]:
        """The best suggestions, a line each."""
        names = list(self.search.objectives)
        said = [
            "  best "
            + ", ".join(f"{name} {value:.6g}" for name, value in zip(names, trial.values, strict=True))
            + f": {', '.join(f'{key} {value}' for key, value in trial.params.items())}"
            for trial in self.best()
        ]
        return list(dict.fromkeys(said))  # where a space is small, the best is suggested again

    def best(self) -> list[FrozenTrial]:
        """The best trial, or with several objectives those that no other beats in all of them."""
        return self.study.best_trials if self.study.get_trials(states=[TrialState.COMPLETE]) else []


def _label(trial: optuna.Trial, number: int, spec: TrialSpec) -> None:
    """Say in Optuna's ``trial`` which suggestion it is, which may not be its own number, and of which trial of ours."""
    trial.set_user_attr(NUMBER, number)
    trial.set_user_attr("trial", spec.id)


NUMBER = "suggestion"


def suggested_spec(sweep: Sweep, trial: optuna.Trial) -> TrialSpec:
    """The trial of ours that Optuna's ``trial`` draws from the space; SweepError if there can be none such."""
    assert sweep.search is not None
    cell = sample(sweep.search.space, trial)
    try:
        return TrialSpec.model_validate(merge(sweep.base, cell))
    except ValidationError as error:
        raise SweepError(f"search.space: a suggestion cannot be: {format_error(error)}: {cell}") from None


def new_study(search: Search, storage: str | None = None, name: str | None = None) -> optuna.Study:
    """An empty study; ``storage``: an Optuna storage address, to be opened in optuna-dashboard."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=list(search.objectives.values()),
        sampler=samplers.RandomSampler(search.sampler_seed),
        storage=storage,
        study_name=name,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(search.objectives))
    return study
