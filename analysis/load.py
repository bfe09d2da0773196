"""The result tables as pandas DataFrames.

Columns, types and units of all of them are declared in ``trainables/records.py``; :func:`describe` lists them. A
storage without results gives an empty frame with the declared columns. A damaged file costs its own rows: it is named
in the log and left out. What an older version did not measure is missing, and a file of a later version is refused.

All loaders take the same arguments. ``storage``: a local path or a URI such as ``s3://bucket/folder``; ``trials``:
ids, or None for all; ``columns``: some of the declared ones, or None for all; ``filters``: conditions that a row must
all meet, in the form of ``pandas.read_parquet``: ``[("dataset", "==", "cifar100"), ("sparsity", ">=", 0.8)]``. What is
left out is not read: choice of trials, columns and filters are pushed down to Parquet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis import compacted
from trainables import records

log = logging.getLogger(__name__)


def load_trials(
    storage: str = "runs",
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: records.Filters | None = None,
) -> pd.DataFrame:
    """One row a finished trial: what it was, its final results and its cost. Accuracies are fractions in [0, 1]."""
    return _load("trials", storage, trials, columns, filters)


def load_epochs(
    storage: str = "runs",
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: records.Filters | None = None,
) -> pd.DataFrame:
    """One row an epoch of a finished trial, counted from 1: losses and accuracies at its end."""
    return _load("epochs", storage, trials, columns, filters)


def load_layers(
    storage: str = "runs",
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: records.Filters | None = None,
) -> pd.DataFrame:
    """One row a maskable layer of a finished trial: its weights, its density and its FLOPs."""
    return _load("layers", storage, trials, columns, filters)


def load_failures(
    storage: str = "runs",
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: records.Filters | None = None,
) -> pd.DataFrame:
    """One row a failure, also of trials that were finished later."""
    return _load("failures", storage, trials, columns, filters)


def describe(table: str = "trials") -> pd.DataFrame:
    """The declared columns of ``trials``, ``epochs``, ``layers`` or ``failures``: ``column``, ``type``, ``meaning``."""
    rows = [(field.name, str(field.type), field.metadata[b"description"].decode()) for field in records.TABLES[table]]
    return pd.DataFrame(rows, columns=["column", "type", "meaning"])


def _load(
    table: str,
    storage: str,
    trials: Iterable[str] | None,
    columns: Sequence[str] | None,
    filters: records.Filters | None,
) -> pd.DataFrame:
    rows, damaged = compacted.read(storage, table, trials, columns, filters)
    for path in damaged:
        log.warning("%s: a damaged Parquet file is skipped, its rows are missing: %s", table, path)
    return rows.to_pandas()
