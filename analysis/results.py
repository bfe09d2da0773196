"""The input of figures, claims and reports: the result tables of some trials as one value."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike

import pandas as pd

from sparsweep.analysis import outcome_files
from sparsweep.analysis.arguments import storage_text, trial_ids
from sparsweep.analysis.example_images import SAMPLES, Ranking, TestImages, load_samples
from sparsweep.analysis.load import load_epochs, load_failures, load_layers, load_trials
from sparsweep.analysis.outcomes.matrix import COLUMNS, OutcomeMatrix
from sparsweep.analysis.searches import Searches
from sparsweep.trainables.storage import schemas

log = logging.getLogger(__name__)


def _empty(table: str) -> pd.DataFrame:
    return schemas.SCHEMAS[table].empty_table().to_pandas()


@dataclass(frozen=True)
class Results:
    """Result tables of some trials. ``Results(trials)`` is enough for most figures.

    Attributes:
        trials: One row per finished trial (columns: ``storage/schemas.py``).
        layers: One row per layer.
        failures: One row per failure.
        samples: Example images, with the columns SAMPLES.
        epochs: At least the columns EPOCHS.
        asked: One row per planned trial, finished or not, with the columns of its spec. None if unknown. Figures use it
            to show what is missing.
        searches: The Optuna study of each search.
        allowed: Ids of trials whose sweep sets ``allow_undertrained``. Claims use them although they are under-trained.
        outcomes: Per-sample outcomes by split, such as ``test``: one matrix per data set. They can include further
            trials.
        test_images: Test images that figures show, by JSON of the data set.
    """

    trials: pd.DataFrame
    layers: pd.DataFrame = field(default_factory=lambda: _empty("layers"))
    failures: pd.DataFrame = field(default_factory=lambda: _empty("failures"))
    samples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SAMPLES)))
    epochs: pd.DataFrame = field(default_factory=lambda: _empty("epochs"))
    asked: pd.DataFrame | None = None
    searches: Searches = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    outcomes: Mapping[str, tuple[OutcomeMatrix, ...]] = field(default_factory=dict)
    test_images: Mapping[str, TestImages] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Results | pd.DataFrame) -> Results:
        """Return ``results`` as Results; a frame of trials becomes one."""
        return cls(results) if isinstance(results, pd.DataFrame) else results

    def where_rows(self, chosen: pd.Series, asked: pd.Series | None = None) -> Results:
        """Return the results of the trials with a true value in ``chosen``, a bool per row.

        ``asked``: the same for the rows of ``self.asked``. None keeps all.
        """
        trials = self.trials[chosen]
        layers, epochs = (rows[rows["trial"].isin(trials["trial"])] for rows in (self.layers, self.epochs))
        wanted = self.asked if self.asked is None or asked is None else self.asked[asked]
        return replace(self, trials=trials, layers=layers, epochs=epochs, asked=wanted)

    def where(self, holds: Callable[[pd.DataFrame], pd.Series]) -> Results:
        """Return the results of the trials, finished or planned, for which ``holds(frame)`` is true."""
        return self.where_rows(holds(self.trials), None if self.asked is None else holds(self.asked))


EPOCHS = ("trial", "epoch", "test_accuracy")
"""Columns of the table ``epochs`` that figures need."""


def load_results(
    storage: str | PathLike[str] = "runs", trials: str | Iterable[str] | None = None, rankings: Sequence[Ranking] = ()
) -> Results:
    """Load everything that figures need.

    Args:
        storage: A local path or a URI.
        trials: Ids; None for all.
        rankings: Scoring runs whose hardest and easiest images are loaded.
    """
    wanted = trial_ids(trials)  # once: they may be an iterator
    return Results(
        load_trials(storage, wanted),
        load_layers(storage, wanted),
        load_failures(storage, wanted),
        load_samples(storage, rankings),
        load_epochs(storage, wanted, EPOCHS),
    )


def with_outcomes(results: Results, storage: str | PathLike[str], split: str = "test") -> Results:
    """Return ``results`` with the outcomes of their trials on one split, read in pieces.

    Args:
        results: Results without outcomes.
        storage: A local path or a URI.
        split: Name of the split.
    """
    place, matrices = storage_text(storage), []
    for dataset, trials in results.trials.groupby(["dataset", "dataset_parameters"], dropna=False):
        rows = outcome_files.read_batches(place, split, trials["trial"], COLUMNS)
        try:
            matrix = OutcomeMatrix.from_tables(rows)
        except ValueError as error:  # the images of a data set have changed between two trials
            log.warning("%s: outcomes are left out: %s", dataset[0], error)
            continue
        if matrix.trials:
            matrices.append(matrix)
    return replace(results, outcomes={split: tuple(matrices)}) if matrices else results
