"""Selection of results by method and by panel, as the command's options name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from sparsweep.analysis.filters import TrialFilter
from sparsweep.analysis.groups import DENSE
from sparsweep.analysis.results import Results

NUMBERS = ("data_ratio", "sparsity")
FIELDS = ("dataset", "model", "difficulty", *NUMBERS)
"""Columns of ``trials`` that select panels."""

Values = Mapping[str, Sequence[str | float]]


def chosen(results: Results, methods: Sequence[str] = (), panels: Sequence[str] = ()) -> Results:
    """Return the results of some methods in some panels. Dense always stays.

    Args:
        results: All results.
        methods: Names of sparsifiers. Empty: all.
        panels: Texts ``FIELD=VALUE`` with a field of FIELDS. Values of one field are alternatives; a trial must match
            every field. Dense matches every sparsity. Empty: all.

    Raises:
        ValueError: No trial matches a method or a panel. The message lists the choices.
    """
    wanted = _parse(panels)
    _check("--method", methods, results.trials.loc[results.trials["sparsifier"] != DENSE, "sparsifier"])
    for field, values in wanted.items():
        known = results.trials[field] if field != "sparsity" else results.trials.loc[results.trials[field] > 0, field]
        _check(f"--panel {field}", values, known)

    def holds(trials: pd.DataFrame) -> pd.Series:
        found = trials["sparsifier"].isin([DENSE, *methods]) if methods else pd.Series(True, index=trials.index)
        for field, values in wanted.items():
            found &= pd.concat(
                [TrialFilter.model_validate({field: value}).match(trials) for value in values], axis=1
            ).any(axis=1)
        return found

    return results.where(holds)


def _parse(panels: Iterable[str]) -> dict[str, list[str | float]]:
    found: dict[str, list[str | float]] = defaultdict(list)
    for panel in panels:
        field, equals, value = panel.partition("=")
        if field not in FIELDS or not equals:
            raise ValueError(f"--panel: no FIELD=VALUE (got {panel!r}). Choose FIELD from: {', '.join(FIELDS)}.")
        try:
            found[field].append(float(value) if field in NUMBERS else value)
        except ValueError:
            raise ValueError(f"--panel {field}: no number (got {value!r}).") from None
    return found


def _check(option: str, wanted: Iterable[str | float], known: pd.Series) -> None:
    """Raise ValueError for the first of ``wanted`` that is not in ``known``."""
    there = sorted(known.unique())
    for value in wanted:
        if not any(value == other or (isinstance(value, float) and abs(value - other) < 1e-9) for other in there):
            names = ", ".join(f"{other:g}" if isinstance(other, float) else str(other) for other in there)
            got = f"{value:g}" if isinstance(value, float) else repr(value)
            raise ValueError(f"{option}: no results (got {got}). Choose from: {names or 'nothing'}.")
