"""Selection and order of trials by column, for the command line."""

from __future__ import annotations

import re
from collections.abc import Collection

import pandas as pd


def matching(trials: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows of ``trials`` that satisfy ``condition``.

    Args:
        trials: One row per trial.
        condition: As in ``pandas.DataFrame.query``, e.g. ``sparsity >= 0.8 and sparsifier == 'set'``.

    Raises:
        ValueError: The condition cannot be parsed, names an unknown column, or is not boolean.
    """
    try:
        # The python engine compares texts too. No variables of the caller: a name is a column.
        holds = trials.eval(condition, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cannot be applied (got {condition!r}): {reason}. Columns: {', '.join(trials.columns)}."
        ) from None
    if not isinstance(holds, pd.Series) or holds.dtype != bool:
        raise ValueError(f"must be true or false for each trial (got {condition!r}). Compare: COLUMN == VALUE.")
    return trials[holds]


def ordered(trials: pd.DataFrame, column: str, smallest_first: bool = False) -> pd.DataFrame:
    """Return ``trials`` sorted by ``column``, largest first and missing last. The sort is stable.

    Raises:
        ValueError: The column does not exist.
    """
    if column not in trials.columns:
        raise ValueError(f"unknown column (got {column!r}). Choose from: {', '.join(trials.columns)}.")
    return trials.sort_values(column, ascending=smallest_first, na_position="last", kind="stable")


def named_columns(condition: str, columns: Collection[str]) -> list[str]:
    """Return the ``columns`` that a condition names, in its order."""
    return [name for name in dict.fromkeys(re.findall(r"\w+", condition)) if name in columns]
