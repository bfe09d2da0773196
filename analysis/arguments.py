"""Validation of the loaders' arguments. A value of the wrong type raises an error.

Without it, such a value would match no row, and an empty frame looks like a result.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from sparsweep.trainables.storage import schemas, tables

Condition = tuple[str, str, Any]

OPERATORS = ("=", "==", "!=", "<", "<=", ">", ">=", "in", "not in")
_TYPES: dict[str, Callable[[pa.DataType], bool]] = {
    "a number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    "a text": pa.types.is_string,
    "True or False": pa.types.is_boolean,
    "a time with a time zone": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
}


def storage_text(storage: str | os.PathLike[str]) -> str:
    """Return a storage as text.

    Raises:
        TypeError: ``storage`` is neither a path nor text.
    """
    if not isinstance(storage, str | os.PathLike):
        raise TypeError(f"storage: not a path or a URI (got {storage!r}). Give a text or a pathlib.Path.")
    return os.fspath(storage)


def trial_ids(trials: str | Iterable[str] | None) -> list[str] | None:
    """Return trial ids as a list. One id becomes a list of one; None (all trials) stays None.

    Raises:
        TypeError: ``trials`` is neither text nor an iterable.
        ValueError: An id is not 16 hex digits.
    """
    if trials is None:
        return None
    if not isinstance(trials, Iterable):
        raise TypeError(f"trials: not ids (got {trials!r}). Give one id or a list of them.")
    ids = [trials] if isinstance(trials, str) else list(trials)
    for found in ids:
        _check_id("trials", found)
    return ids


def column_names(columns: str | Iterable[str] | None) -> list[str] | None:
    """Return column names as a list. One name becomes a list of one; None (all columns) stays None.

    Raises:
        TypeError: ``columns`` is neither text nor an iterable of texts.
        ValueError: No column is named, or one is named twice.
    """
    if columns is None:
        return None
    if not isinstance(columns, Iterable):
        raise TypeError(f"columns: not names (got {columns!r}). Give one name or a list of them.")
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"columns: none, or one twice (got {names!r}). Name each column once, or leave columns out.")
    return names


def alternatives(table: str, filters: Any) -> list[list[Condition]] | None:
    """Return filters in the form of pandas and pyarrow: a list of alternatives, each a list of conditions.

    Args:
        table: Name of the table that the conditions are about.
        filters: One condition, a list of conditions (all must hold), or a list of such lists (one must hold).

    Raises:
        TypeError: ``filters`` has another form, or a value has another type than its column.
        ValueError: A column, an operator or a value is impossible.
    """
    if filters is None:
        return None
    if _is_condition(filters):
        filters = [filters]
    if not isinstance(filters, list | tuple):
        raise TypeError(f"filters: not a list (got {filters!r}). {_FORM}")
    if not filters:
        return None
    groups = [filters] if all(_is_condition(part) for part in filters) else filters
    return [_conditions(table, group) for group in groups]


_FORM = 'Give [("sparsity", ">=", 0.8), ...], or a list of such lists for "or".'


def _is_condition(part: Any) -> bool:
    return isinstance(part, list | tuple) and len(part) == 3 and all(isinstance(text, str) for text in part[:2])


def _conditions(table: str, group: Any) -> list[Condition]:
    if not isinstance(group, list | tuple) or not group or not all(_is_condition(part) for part in group):
        raise TypeError(f"filters: not conditions (got {group!r}). {_FORM}")
    return [_checked(table, *part) for part in group]


def _checked(table: str, column: str, operator: str, value: Any) -> Condition:
    if column not in schemas.SCHEMAS[table].names:
        tables.make_selection(table, columns=[column])  # raises: the error names the choices
    if operator not in OPERATORS:
        raise ValueError(
            f"filters: {column}: unknown operator (got {operator!r}). Choose from: {', '.join(OPERATORS)}."
        )
    several = operator in ("in", "not in")
    if several and (isinstance(value, str | bytes) or not isinstance(value, Iterable)):
        raise TypeError(f"filters: {column}: {operator!r} needs a list (got {value!r}). Give a list of values.")
    values = list(value) if several else [value]
    for single in values:
        _check_value(schemas.SCHEMAS[table].field(column), single)
        if column == "trial" and operator in ("=", "==", "in"):
            _check_id("filters: trial", single)
    return column, operator, values if several else value


def _check_value(field: pa.Field, value: Any) -> None:
    """Raise if a comparison of ``value`` with its column fails in Arrow, or can match no row."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        raise ValueError(
            f"filters: {field.name}: no row equals a missing value (got {value!r}). "
            f"Load first, then select by isna() or notna()."
        )
    wanted = next(words for words, holds in _TYPES.items() if holds(field.type))
    try:
        fits = _TYPES[wanted](pa.scalar(value).type)
    except (pa.ArrowException, OverflowError):
        fits = False
    if not fits:
        raise TypeError(f"filters: {field.name}: not {wanted} (got {value!r}). Give {wanted}.")


def _check_id(where: str, found: Any) -> None:
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{16}", found):
        raise ValueError(f"{where}: not the id of a trial (got {found!r}). Give all of its 16 hex digits.")
