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

from sparsweep.analysis import arguments, snapshot
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
    """Return the columns of ``trials``, ``epochs``, ``layers`` or ``failures``: ``column``, ``type``, ``meaning``."""
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
    ids, names = arguments.trial_ids(trials), arguments.column_names(columns)
    if sweep is not None:
        members = _members(place, sweep)
        ids = [trial for trial in members if ids is None or trial in ids]
    rows, damaged = snapshot.read(place, table, ids, names, arguments.alternatives(table, filters))
    for path in damaged:
        tables.warn_damaged(table, path)
    return rows.to_pandas()


def _members(storage: str, sweep: str) -> list[str]:
    """Return the ids of the trials of ``sweep``. Raises ValueError with the choices if it was not run."""
    rows, _ = snapshot.read(storage, "memberships")
    found = rows.to_pandas()
    if sweep not in set(found["sweep"]):
        choices = ", ".join(sorted(set(found["sweep"]))) or "none yet"
        raise ValueError(f"sweep: no sweep of that name was run in {storage} (got {sweep!r}). Choose from: {choices}.")
    return list(found.loc[found["sweep"] == sweep, "trial"])
