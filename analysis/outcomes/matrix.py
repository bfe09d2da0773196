"""The outcomes of many trials on one split as arrays: what each trial predicts for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

COLUMNS = ("trial", "sample", "label", "prediction", "label_probability")
"""Columns of the tables that a matrix is built from."""

ABSENT = 65535
"""Prediction of a sample that a trial did not evaluate."""

_UNKNOWN = -1  # label of a column before its first row


@dataclass(frozen=True, eq=False)
class OutcomeMatrix:
    """Predictions of T trials on the N samples of one split of one data set.

    10,000 trials and 10,000 samples take 400 MB.

    Attributes:
        trials: Ids, ascending.
        samples: Index of each sample in the data set, int32 (N,), ascending.
        labels: Class of each sample, uint16 (N,).
        predictions: Predicted classes, uint16 (T, N). ABSENT for samples that the trial did not evaluate: each trial
            has its own training samples.
        label_probabilities: Softmax probability of the label in [0, 1], float16 (T, N). NaN where absent.
    """

    trials: tuple[str, ...]
    samples: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    label_probabilities: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction equals the label, bool (T, N). False where absent."""
        return self.predictions == self.labels

    @property
    def evaluated(self) -> np.ndarray:
        """Whether each trial evaluated each sample, bool (T, N)."""
        return self.predictions != ABSENT

    @classmethod
    def from_tables(cls, tables: Iterable[pa.Table]) -> OutcomeMatrix:
        """Build the matrix from tables with COLUMNS, one after the other, so that only one is in memory.

        Trials and samples can be in any order. The rows of one trial can be in several tables.

        Raises:
            ValueError: Two trials give one sample different labels.
        """
        builder = _Builder()
        for table in tables:
            for trial, rows in _by_trial(table):
                builder.add(trial, rows)
        return builder.finish()

    def select(self, trials: Iterable[str]) -> OutcomeMatrix:
        """Return the matrix of those ``trials`` that are in this one, in the order given, with all samples."""
        place = {trial: row for row, trial in enumerate(self.trials)}
        chosen = [trial for trial in trials if trial in place]
        rows = [place[trial] for trial in chosen]
        return OutcomeMatrix(
            tuple(chosen), self.samples, self.labels, self.predictions[rows], self.label_probabilities[rows]
        )


@dataclass(frozen=True)
class _Rows:
    """Rows of one trial: arrays (n,)."""

    samples: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray


def _by_trial(table: pa.Table) -> Iterator[tuple[str, _Rows]]:
    """Yield the rows of each trial in ``table``."""
    if not len(table):
        return
    trials = table["trial"].cast(pa.string()).combine_chunks().dictionary_encode()
    codes, names = trials.indices.to_numpy(), trials.dictionary.to_pylist()
    values = [table[name].to_numpy() for name in COLUMNS[1:]]
    for code, trial in enumerate(names):
        chosen = codes == code if len(names) > 1 else slice(None)
        yield trial, _Rows(*(column[chosen] for column in values))


class _Builder:
    """A matrix that grows. Columns are in the order of arrival until :meth:`finish` sorts them.

    A row is as long as the number of columns when it was last written. So a new sample does not copy all rows.
    """

    def __init__(self) -> None:
        self._columns = np.empty(0, np.int32)  # column of each sample; _UNKNOWN for none
        self._samples = np.empty(0, np.int32)
        self._labels = np.empty(0, np.int32)
        self._sources = np.empty(0, np.int32)  # number of the trial that gave the label
        self._predictions: dict[str, np.ndarray] = {}
        self._probabilities: dict[str, np.ndarray] = {}

    def add(self, trial: str, rows: _Rows) -> None:
        """Add rows of ``trial``."""
        self._add_samples(rows.samples)
        columns = self._columns[rows.samples]
        count = len(self._samples)
        self._predictions[trial] = _lengthen(self._predictions.get(trial, np.empty(0, np.uint16)), count, ABSENT)
        self._probabilities[trial] = _lengthen(self._probabilities.get(trial, np.empty(0, np.float16)), count, np.nan)
        self._check_labels(trial, columns, rows.labels)
        self._predictions[trial][columns] = rows.predictions
        self._probabilities[trial][columns] = rows.probabilities

    def _add_samples(self, samples: np.ndarray) -> None:
        """Append a column for each sample that has none."""
        self._columns = _lengthen(self._columns, int(samples.max()) + 1, _UNKNOWN)
        new = np.unique(samples[self._columns[samples] == _UNKNOWN])
        count = len(self._samples) + len(new)
        self._columns[new] = np.arange(len(self._samples), count)
        self._samples = np.concatenate([self._samples, new.astype(np.int32)])
        self._labels = _lengthen(self._labels, count, _UNKNOWN)
        self._sources = _lengthen(self._sources, count, _UNKNOWN)

    def _check_labels(self, trial: str, columns: np.ndarray, labels: np.ndarray) -> None:
        """Store the labels of new columns. Raise ValueError if a known label differs."""
        new = self._labels[columns] == _UNKNOWN
        self._labels[columns[new]] = labels[new]
        self._sources[columns[new]] = len(self._predictions) - 1
        differ = np.flatnonzero(self._labels[columns] != labels)
        if len(differ):
            column, label = columns[differ[0]], labels[differ[0]]
            source = list(self._predictions)[self._sources[column]]
            raise ValueError(
                f"outcomes: trials {source} and {trial} give sample {self._samples[column]} the labels "
                f"{self._labels[column]} and {label}. Choose trials of one data set with the same labels."
            )

    def finish(self) -> OutcomeMatrix:
        """Return the matrix with trials and samples in ascending order. Empties the builder."""
        order, trials = np.argsort(self._samples), tuple(sorted(self._predictions))
        return OutcomeMatrix(
            trials,
            self._samples[order],
            self._labels[order].astype(np.uint16),
            _stack(self._predictions, trials, order, np.uint16, ABSENT),
            _stack(self._probabilities, trials, order, np.float16, np.nan),
        )


def _lengthen(values: np.ndarray, count: int, fill: float) -> np.ndarray:
    """Return ``values`` (n,) with at least ``count`` elements, new ones being ``fill``."""
    if len(values) >= count:
        return values
    return np.concatenate([values, np.full(count - len(values), fill, values.dtype)])


def _stack(
    rows: dict[str, np.ndarray], trials: tuple[str, ...], order: np.ndarray, dtype: type, fill: float
) -> np.ndarray:
    """Return rows as an array (T, N) with columns in ``order``. Each row is freed once it is copied."""
    found: np.ndarray = np.empty((len(trials), len(order)), dtype)
    for place, trial in enumerate(trials):
        found[place] = _lengthen(rows.pop(trial), len(order), fill)[order]
    return found
