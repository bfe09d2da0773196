"""Optuna study of a search. Each suggestion is stored before its trial runs.

A resume rebuilds the study from the stored suggestions. Finished trials are told to Optuna from the result tables;
unfinished trials run again and are not suggested again.
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
from sparsweep.tuner.config.search import Search
from sparsweep.tuner.config.space import sample
from sparsweep.tuner.config.sweep import Sweep
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
"""Constructors of samplers by name. Arguments: the search and the seed of one suggestion."""
SEQUENTIAL_SAMPLERS = {"nsga2", "qmc"}
"""Samplers that store a counter in the study: the generation, or the index in a sequence."""


def sampler(search: Search, number: int) -> BaseSampler:
    """Return the sampler of one suggestion, which depends only on the seed and the number.

    Therefore a rebuilt study continues the sequence and does not repeat its first suggestions.

    Args:
        search: The search.
        number: Number of the suggestion.
    """
    own = int(np.random.SeedSequence([search.sampler_seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[search.sampler](search, own)


class OptunaStudy:
    """Optuna study of a sweep's search: :meth:`ask` for trials, then :meth:`tell_finished` or :meth:`tell_failed`.

    Attributes:
        study: The study in Optuna.
        open_trials: Optuna trials without a result, by trial id.
        next_number: Numbers of suggestions left to draw.
        pending: Stored suggestions that still need to run.
    """

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
        """Add a stored suggestion to the study: tell its result, or add it to :attr:`pending`."""
        self.study.enqueue_trial(dict(suggestion.params))
        self.study.sampler = sampler(self.search, suggestion.number)
        trial = self.study.ask()
        if self.search.sampler in SEQUENTIAL_SAMPLERS:
            _ = trial.relative_params  # computed lazily; updates the sampler's counter
        is_valid = self._drawn(trial, suggestion)
        if not is_valid or suggestion.spec is None:
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
        """Draw the parameters of ``suggestion`` from the space again. Return False if they do not match the space."""
        try:
            sample(self.search.space, trial)
        except (ValueError, TypeError) as error:
            why = shortened(str(error))
            log.warning(
                "%s: suggestion %d does not match the search space: %s", self.sweep.name, suggestion.number, why
            )
            return False
        return True

    def ask(self) -> TrialSpec | None:
        """Return the next trial to run, or None if all suggestions are drawn.

        A suggestion that is already finished in the storage, by any sweep, is told to Optuna and not returned.
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
                log.warning("%s: skipping suggestion %d: %s", self.sweep.name, number, error)
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
        """Tell Optuna the result of a finished trial."""
        self._tell(spec.id, self.values(spec))

    def tell_failed(self, spec: TrialSpec, why: str) -> None:
        """Tell Optuna that a trial ``failed`` or was ``pruned`` (argument ``why``). A resume may retry failures."""
        for trial in self.open_trials.get(spec.id, []):
            if why == "pruned":
                save(self.sweep.name, self.store, Suggestion(trial.user_attrs[NUMBER], spec, trial.params, why))
        self._tell(spec.id, None, TrialState.PRUNED if why == "pruned" else TrialState.FAIL)

    def values(self, spec: RunSpec) -> list[float] | None:
        """Return the objectives of a finished trial, or None if it is not finished."""
        if not self.store.is_finished(spec.id):
            return None
        table, _ = tables.read_table(self.store.storage, "trials", [spec.id], list(self.search.objectives))
        if not table.num_rows:
            return None
        row = table.to_pylist()[0]
        return [math.nan if row[name] is None else row[name] for name in self.search.objectives]

    def _tell(self, run: str, values: list[float] | None, otherwise: TrialState = TrialState.FAIL) -> None:
        # Optuna rejects NaN and would leave the trial running, so a NaN objective counts as failed.
        has_values = values is not None and not any(math.isnan(value) for value in values)
        for trial in self.open_trials.pop(run, []):
            if has_values:
                self.study.tell(trial, values)
            else:
                self.study.tell(trial, state=otherwise)

    def format_best(self) -> list[str]:
        """Format the best suggestions, one line each."""
        names = list(self.search.objectives)
        lines = [
            "  best "
            + ", ".join(f"{name} {value:.6g}" for name, value in zip(names, trial.values, strict=True))
            + f": {', '.join(f'{key} {value}' for key, value in trial.params.items())}"
            for trial in self.best()
        ]
        return list(dict.fromkeys(lines))  # a small space may repeat the best suggestion

    def best(self) -> list[FrozenTrial]:
        """Return the best trial, or the Pareto front for several objectives."""
        return self.study.best_trials if self.study.get_trials(states=[TrialState.COMPLETE]) else []


def _label(trial: optuna.Trial, number: int, spec: TrialSpec) -> None:
    """Store the suggestion's number (Optuna's own number may differ) and the trial id in the Optuna trial."""
    trial.set_user_attr(NUMBER, number)
    trial.set_user_attr("trial", spec.id)


NUMBER = "suggestion"


def suggested_spec(sweep: Sweep, trial: optuna.Trial) -> TrialSpec:
    """Draw a trial from the search space.

    Args:
        sweep: The search.
        trial: Optuna trial that suggests the values.

    Raises:
        SweepError: The sample is not a valid trial.
    """
    assert sweep.search is not None
    cell = sample(sweep.search.space, trial)
    try:
        return TrialSpec.model_validate(merge(sweep.base, cell))
    except ValidationError as error:
        raise SweepError(f"search.space: invalid sample {cell}: {format_error(error)}") from None


def new_study(search: Search, storage: str | None = None, name: str | None = None) -> optuna.Study:
    """Create an empty Optuna study.

    Args:
        search: The search, which gives the directions and names of the objectives.
        storage: Optuna storage address, None for memory.
        name: Name of the study.
    """
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
