"""The result tables as pandas DataFrames.

Columns, types and units of all of them are declared in ``trainables/storage/schemas.py``; :func:`describe` lists
them. A storage without results gives an empty frame with the declared columns. A damaged file costs its own rows: it
is named in the log and left out. What an older version did not measure is missing, and a file of a later version is
refused.

All loaders take the same arguments. ``storage``: a local path or a URI such as ``s3://bucket/folder``; ``trials``: one
id or several, or None for all; ``columns``: one name or several of the declared ones, or None for all; ``filters``: as
``pandas.read_parquet`` takes them, ``[("dataset", "==", "cifar100"), ("sparsity", ">=", 0.8)]`` for rows that meet both
conditions, a list of such lists for rows that meet one of these; ``sweep``: the name of a sweep that was run in the
storage, whose own trials are read, whoever trained them first. TypeError or ValueError on anything else. What is left
out is not read: choice of trials, columns and filters are pushed down to Parquet.
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
    """One row a finished trial: what it was, its final results and its cost. Accuracies are fractions in [0, 1]."""
    return _load("trials", storage, trials, columns, filters, sweep)


def load_epochs(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """One row an epoch of a finished trial, counted from 1: losses and accuracies at its end."""
    return _load("epochs", storage, trials, columns, filters, sweep)


def load_layers(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """One row a maskable layer of a finished trial: its weights, its density and its FLOPs."""
    return _load("layers", storage, trials, columns, filters, sweep)


def load_failures(
    storage: str | PathLike[str] = "runs",
    trials: str | Iterable[str] | None = None,
    columns: str | Iterable[str] | None = None,
    filters: Filters | None = None,
    sweep: str | None = None,
) -> pd.DataFrame:
    """One row a failure, also of trials that were finished later."""
    return _load("failures", storage, trials, columns, filters, sweep)


def describe(table: str = "trials") -> pd.DataFrame:
    """The declared columns of ``trials``, ``epochs``, ``layers`` or ``failures``: ``column``, ``type``, ``meaning``."""
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
    """Return the ids of the trials that belong to ``sweep``; ValueError that names the choices if it was not run."""
    rows, _ = snapshot.read(storage, "memberships")
    found = rows.to_pandas()
    if sweep not in set(found["sweep"]):
        choices = ", ".join(sorted(set(found["sweep"]))) or "none yet"
        raise ValueError(f"sweep: no sweep of that name was run in {storage} (got {sweep!r}). Choose from: {choices}.")
    return list(found.loc[found["sweep"] == sweep, "trial"])
