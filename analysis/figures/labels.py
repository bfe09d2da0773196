"""Short texts for settings and methods: they name what differs within the figure, and nothing else."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from analysis.arms import METHOD, SETTING
from analysis.figures import style

_NAMED = ("dataset", "model", "difficulty")
_PARAMETERS = ("model_parameters", "difficulty_parameters")
_DIFFICULTIES = {"none": "random subset", "el2n": "EL2N"}

Key = tuple[Hashable, ...]


def settings(points: pd.DataFrame) -> pd.Series:
    """The title of each row's setting: data set, network, difficulty. Two settings never have the same title.

    Recipe and parameters are added only where they tell two settings of the same three apart.
    """
    groups = points.groupby(list(SETTING), dropna=False)
    rows = groups.head(1)[list(SETTING)].assign(number=groups.ngroup()).to_dict("records")
    alike: dict[Key, list[dict[Hashable, Any]]] = defaultdict(list)
    for row in rows:
        alike[tuple(row[name] for name in _NAMED)].append(row)
    titles: dict[int, str] = {}
    for group in alike.values():
        for row, more in zip(group, differing([_details(row) for row in group]), strict=True):
            parts = [f"{row['dataset']} / {row['model']}", difficulty(row["difficulty"], row["difficulty_parameters"])]
            titles[row["number"]] = ", ".join(part for part in (*parts, more) if part)
    return groups.ngroup().map(titles)


def _details(row: dict[Hashable, Any]) -> dict[str, Any]:
    """All of a setting that its title does not say anyway."""
    shown = (*_NAMED, *_PARAMETERS)
    details = {str(name): value for name, value in row.items() if name in SETTING and name not in shown}
    for column in _PARAMETERS:
        details |= _parse(row[column])
    details.pop("keep", None)
    return details


def difficulty(name: str, parameters: str) -> str:
    """``EL2N``; with what is kept where it is not the hardest: ``EL2N, easiest kept``."""
    keep = _parse(parameters).get("keep", "hardest")
    label = _DIFFICULTIES.get(name, name)
    return label if keep == "hardest" else f"{label}, {keep} kept"


def methods(points: pd.DataFrame) -> dict[Key, tuple[str, int]]:
    """Label and variant (0, 1, ...) of each (sparsifier, sparsifier_parameters) in ``points``, in legend order."""
    rows = points[list(METHOD)].drop_duplicates()
    found: dict[Key, tuple[str, int]] = {}
    for sparsifier in sorted(rows["sparsifier"].unique(), key=style.order):
        parameters = sorted(rows.loc[rows["sparsifier"] == sparsifier, "sparsifier_parameters"])
        for variant, more in enumerate(differing([_parse(text) for text in parameters])):
            name = style.of(sparsifier).label
            found[sparsifier, parameters[variant]] = (f"{name} ({more})" if more else name, variant)
    return found


def differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """For each row ``field=value`` of the fields in which the rows differ; empty texts where they do not."""
    fields = sorted({field for row in rows for field in row})
    telling = [field for field in fields if any(row.get(field) != rows[0].get(field) for row in rows)]
    return [", ".join(f"{field}={_short(row[field])}" for field in telling if field in row) for row in rows]


def seeds(counts: pd.Series) -> str:
    """``n = 3`` or ``n = 2–3``; ``counts``: replicates of each point, 0 for a missing one."""
    there = counts[counts > 0]
    span = f"{there.min()}" if there.min() == there.max() else f"{there.min()}–{there.max()}"
    return f"n = {span}"


def wrap(text: str, width: float) -> str:
    """``text`` in lines that fit into ``width`` inches at the size of a title."""
    return textwrap.fill(text, max(10, int(width * 13)))


def _parse(parameters: Any) -> dict[str, Any]:
    return json.loads(parameters) if isinstance(parameters, str) else {}


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
