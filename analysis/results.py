"""What a figure, a claim or a report is made from: the result tables of some trials, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike

import pandas as pd

from analysis.arguments import trial_ids
from analysis.load import load_failures, load_layers, load_trials
from analysis.samples import SAMPLES, Ranking, load_samples
from trainables import records


def _empty(table: str) -> pd.DataFrame:
    return records.TABLES[table].empty_table().to_pandas()


@dataclass(frozen=True)
class Results:
    """``trials``, ``layers`` and ``failures`` with the columns of ``trainables/records.py``; ``samples`` with SAMPLES.

    ``allowed``: trials whose sweep says ``allow_undertrained: true``, so that claims are judged on them all the same.
    A plain frame of trials stands for results without the rest: ``Results(trials)``.
    """

    trials: pd.DataFrame
    layers: pd.DataFrame = field(default_factory=lambda: _empty("layers"))
    failures: pd.DataFrame = field(default_factory=lambda: _empty("failures"))
    samples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SAMPLES)))
    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, results: Results | pd.DataFrame) -> Results:
        return cls(results) if isinstance(results, pd.DataFrame) else results

    def only(self, chosen: pd.Series) -> Results:
        """The results of the trials where ``chosen`` (bool, indexed as ``trials``) holds."""
        trials = self.trials[chosen]
        return replace(self, trials=trials, layers=self.layers[self.layers["trial"].isin(trials["trial"])])


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
    )
