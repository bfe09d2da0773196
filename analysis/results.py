"""What a figure, a claim or a report is made from: the result tables of some trials, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike

import pandas as pd

from sparsweep.analysis.arguments import trial_ids
from sparsweep.analysis.example_images import SAMPLES, Ranking, load_samples
from sparsweep.analysis.load import load_epochs, load_failures, load_layers, load_trials
from sparsweep.analysis.searches import Searches
from sparsweep.trainables.storage import schemas


def _empty(table: str) -> pd.DataFrame:
    return schemas.SCHEMAS[table].empty_table().to_pandas()


@dataclass(frozen=True)
class Results:
    """``trials``, ``layers`` and ``failures`` (columns: ``storage/schemas.py``); ``samples`` with SAMPLES.

    ``epochs``: at least the columns EPOCHS; ``asked``: a row (with the columns of a spec) for every trial that the
    sweeps ask for, finished or not, so that a figure knows what is missing, None where nobody knows; ``searches``:
    Optuna's study of each search among the sweeps. ``allowed``: trials whose sweep says ``allow_undertrained: true``,
    so that claims are judged on them all the same.
    A plain frame of trials stands for results without the rest: ``Results(trials)``.
    """

    trials: pd.DataFrame
    layers: pd.DataFrame = field(default_factory=lambda: _empty("layers"))
    failures: pd.DataFrame = field(default_factory=lambda: _empty("failures"))
    samples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SAMPLES)))
    epochs: pd.DataFrame = field(default_factory=lambda: _empty("epochs"))
    asked: pd.DataFrame | None = None
    searches: Searches = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, results: Results | pd.DataFrame) -> Results:
        return cls(results) if isinstance(results, pd.DataFrame) else results

    def where_rows(self, chosen: pd.Series, asked: pd.Series | None = None) -> Results:
        """The results of the trials where ``chosen`` (bool, indexed as ``trials``) holds.

        ``asked``: the same of the rows of ``asked``; None: all of them.
        """
        trials = self.trials[chosen]
        layers, epochs = (rows[rows["trial"].isin(trials["trial"])] for rows in (self.layers, self.epochs))
        wanted = self.asked if self.asked is None or asked is None else self.asked[asked]
        return replace(self, trials=trials, layers=layers, epochs=epochs, asked=wanted)

    def where(self, holds: Callable[[pd.DataFrame], pd.Series]) -> Results:
        """The results of the trials for which ``holds`` (bool for each row of a frame), and what was asked of them."""
        return self.where_rows(holds(self.trials), None if self.asked is None else holds(self.asked))


EPOCHS = ("trial", "epoch", "test_accuracy")
"""Columns of the table ``epochs`` that figures need."""


def load_results(
    storage: str | PathLike[str] = "runs", trials: str | Iterable[str] | None = None, rankings: Sequence[Ranking] = ()
) -> Results:
    """Everything that figures need of ``trials`` (ids; None: of all); ``rankings``: what Figure 1 shows examples of."""
    wanted = trial_ids(trials)  # once: they may be an iterator
    return Results(
        load_trials(storage, wanted),
        load_layers(storage, wanted),
        load_failures(storage, wanted),
        load_samples(storage, rankings),
        load_epochs(storage, wanted, EPOCHS),
    )
