"""The result tables as pandas DataFrames.

Columns, types and units of all of them are declared in ``trainables/records.py``. A storage without results gives an
empty frame with the declared columns. A damaged file costs its own rows: it is named in the log and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pandas as pd

from trainables import records

log = logging.getLogger(__name__)


def load_trials(storage: str = "runs", trials: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a finished trial: what it was, and its final results.

    ``storage``: a local path or a URI such as ``s3://bucket/folder``; ``trials``: ids, or None for all. Accuracies are
    fractions in [0, 1]; the columns are declared in ``trainables/records.py``.
    """
    return _load("trials", storage, trials)


def load_epochs(storage: str = "runs", trials: Iterable[str] | None = None) -> pd.DataFrame:
    """One row an epoch of a finished trial, counted from 1; columns as declared in ``trainables/records.py``."""
    return _load("epochs", storage, trials)


def load_layers(storage: str = "runs", trials: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a maskable layer of a finished trial; columns as declared in ``trainables/records.py``."""
    return _load("layers", storage, trials)


def load_failures(storage: str = "runs", trials: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a failure, also of trials that were finished later; columns as declared in ``trainables/records.py``."""
    return _load("failures", storage, trials)


def _load(table: str, storage: str, trials: Iterable[str] | None) -> pd.DataFrame:
    rows, damaged = records.read(storage, table, trials)
    for path in damaged:
        log.warning("%s: a damaged Parquet file is skipped, its rows are missing: %s", table, path)
    return rows.to_pandas()
