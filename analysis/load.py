"""The result tables as pandas DataFrames.

``trainables/storage/schemas.py`` declares columns, types and units; :func:`describe` lists them. A storage without
results gives an empty frame with these columns. A damaged file loses its own rows: it is logged and left out. Columns
that an older version did not measure are missing. A file of a later version raises an error.

All loaders take the same arguments:

* ``storage``: a local path or a URI such as ``s3://bucket/folder``.
* ``trials``: one id or several; None for all.
* ``columns``: one name or several; None for all.
* ``filters``: as in ``pandas.read_parquet``, e.g. ``[("dataset", "==", "cifar100"), ("sparsity", ">=", 0.8)]`` for
  rows that meet both conditions. A list of such lists selects rows that meet one of them.
* ``sweep``: name of a sweep. Only its trials are read, even if another sweep trained them.

They raise TypeError or ValueError for anything else. Parquet reads only the selected rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike

import pandas as pd
import pyarrow as pa

from sparsweep.analysis import arguments, outcome_files, snapshot
from sparsweep.trainables.storage import schemas, tables

Filters = arguments.Condition | Sequence[arguments.Condition] | Sequence[Sequence[arguments.Condition]]


def load_trials(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per finished trial: specification, final results, cost. Accuracies are fractions in [0, 1]."""
    return _load("trials", storage, trials, columns, filters, sweep)


def load_epochs(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per epoch of a finished trial, counted from 1: losses and accuracies at its end."""
    return _load("epochs", storage, trials, columns, filters, sweep)


def load_layers(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per maskable layer of a finished trial: number of weights, density, FLOPs."""
    return _load("layers", storage, trials, columns, filters, sweep)


def load_outcomes(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per trial, split and sample: what the trained network predicts. ``trial``, ``split``: categories.

    Each trial has as many rows as its splits have images. Select trials, a split and columns; ``analysis.outcomes``
    has analyses that read a hundred million rows in pieces.
    """
    table, place = "outcomes", arguments.storage_text(storage)
    ids, names = _trials(place, trials, sweep), arguments.column_names(columns)
    alternatives = arguments.alternatives(table, filters)
    wanted = tables.make_selection(table, None, names, alternatives)
    read = tuple(dict.fromkeys((*wanted.columns, *wanted.filter_columns)))
    parts = [
        (rows if wanted.where is None else rows.filter(wanted.where)).select(wanted.columns)
        for rows in outcome_files.read_batches(place, _splits(alternatives), ids, read)
    ]
    if not parts:
        return schemas.SCHEMAS[table].empty_table().select(wanted.columns).to_pandas()
    return pa.concat_tables(parts).unify_dictionaries().to_pandas()


def _splits(alternatives: tables.Filters | None) -> set[str] | None:
    """Return the splits that rows can have to meet one of ``alternatives``. None: any."""
    splits: set[str] = set()
    for conditions in alternatives or [[]]:
        values = {value for name, operator, value in conditions if name == "split" and operator in ("=", "==")}
        if not values:
            return None
        splits |= values
    return splits


def load_shifts(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per finished trial, type and severity of corrupted test images: accuracy and loss."""
    rows = _load("shifts", storage, trials, columns, filters, sweep)
    return rows.drop_duplicates(ignore_index=True)  # two sets of corruptions can share a type and severity


def load_ood(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per finished trial and out-of-distribution data set: how well its images are detected."""
    return _load("ood", storage, trials, columns, filters, sweep)


def load_failures(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """Return one row per failure, also for trials that finished later."""
    return _load("failures", storage, trials, columns, filters, sweep)


def describe(table: str = "trials") -> pd.DataFrame:
    """Return the columns of a table: ``column``, ``type``, ``meaning``."""
    if table not in schemas.SCHEMAS:
        raise ValueError(f"table: unknown (got {table!r}). Choose from: {', '.join(schemas.SCHEMAS)}.")
    rows = [(field.name, str(field.type), field.metadata[b"description"].decode()) for field in schemas.SCHEMAS[table]]
    return pd.DataFrame(rows, columns=["column", "type", "meaning"])


def _load(
    table: str,
    storage: str | PathLike[str],
    trials: str | Iterable[str] | None,
    columns: str | Iterable[str] | None,
    filters: Filters | None,
    sweep: str | None,
) -> pd.DataFrame:
    place = arguments.storage_text(storage)
    ids, names = _trials(place, trials, sweep), arguments.column_names(columns)
    rows, damaged = snapshot.read(place, table, ids, names, arguments.alternatives(table, filters))
    for path in damaged:
        tables.warn_damaged(table, path)
    return rows.to_pandas()


def _trials(storage: str, trials: str | Iterable[str] | None, sweep: str | None) -> list[str] | None:
    """Return the ids that ``trials`` and ``sweep`` select together. None: all."""
    ids = arguments.trial_ids(trials)
    return ids if sweep is None else [trial for trial in _members(storage, sweep) if ids is None or trial in ids]


def _members(storage: str, sweep: str) -> list[str]:
    """Return the ids of the trials of ``sweep``. Raises ValueError with the choices if it was not run."""
    rows, _ = snapshot.read(storage, "memberships")
    found = rows.to_pandas()
    if sweep not in set(found["sweep"]):
        choices = ", ".join(sorted(set(found["sweep"]))) or "none yet"
        raise ValueError(f"sweep: no sweep of that name was run in {storage} (got {sweep!r}). Choose from: {choices}.")
    return list(found.loc[found["sweep"] == sweep, "trial"])
