"""Short texts for settings: they name what differs among those that are shown together, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.arms import DATA, SETTING

_NAMED = ("dataset", "model", "difficulty")
_PARAMETERS = ("dataset_parameters", "model_parameters", "difficulty_parameters")
_SAID = ("keep", "severity")  # parameters that the title of a difficulty tells anyway

DIFFICULTIES = {
    "none": "random subset",
    "el2n": "EL2N",
    "grand": "GraNd",
    "forgetting": "forgetting",
    "aum": "AUM",
    "vog": "VoG",
    "prediction_depth": "prediction depth",
    "scores": "own scores",
    "corruption": "corrupted",
    "label_noise": "label noise",
}
"""Names as the literature writes them; all others are written as they are."""


def setting_titles(points: pd.DataFrame) -> pd.Series:
    """The title of each row's setting: data set, network, difficulty. Two settings never have the same title.

    Recipe and parameters are added only where they tell two settings of the same three apart.
    """

    def short(row: dict[Hashable, Any]) -> str:
        return f"{row['dataset']} / {row['model']}, {difficulty(row['difficulty'], row['difficulty_parameters'])}"

    return _titles(points, SETTING, short)


def data_titles(points: pd.DataFrame) -> pd.Series:
    """The title of each row's data set and network, as :func:`setting_titles`."""
    return _titles(points, DATA, lambda row: f"{row['dataset']} / {row['model']}")


def _titles(points: pd.DataFrame, keys: Sequence[str], short: Any) -> pd.Series:
    """``short`` of each row's group by ``keys``, with what tells it from others that are as short."""
    groups = points.groupby(list(keys), dropna=False)
    rows = groups.head(1)[list(keys)].assign(number=groups.ngroup()).to_dict("records")
    alike: dict[str, list[dict[Hashable, Any]]] = defaultdict(list)
    for row in rows:
        alike[short(row)].append(row)
    titles: dict[int, str] = {}
    for title, group in alike.items():
        for row, more in zip(group, differing([_details(row, keys) for row in group]), strict=True):
            titles[row["number"]] = f"{title}, {more}" if more else title
    return groups.ngroup().map(titles)


def _details(row: dict[Hashable, Any], keys: Sequence[str]) -> dict[str, Any]:
    """All of a setting that its title does not say anyway; None where an older table does not know."""
    details = {name: row[name] for name in keys if name not in (*_NAMED, *_PARAMETERS)}
    for column in _PARAMETERS:
        details |= dict(_leaves(parse(row.get(column))))
    return {
        name: None if pd.isna(value) else value
        for name, value in details.items()
        if name.rpartition(".")[2] not in _SAID
    }


def difficulty(name: str, parameters: Any) -> str:
    """``EL2N``; with what is kept where it is not the hardest: ``EL2N, easiest kept``; ``corrupted (severity 5)``."""
    label = " + ".join(DIFFICULTIES.get(part, part) for part in name.split("+"))
    severity, keep = parameter(parameters, "severity"), parameter(parameters, "keep")
    if severity is not None:
        label = f"{label} (severity {severity})"
    return label if keep in (None, "hardest") else f"{label}, {keep} kept"


def parameter(parameters: Any, name: str) -> Any:
    """The first field called ``name`` anywhere in the JSON ``parameters``; None if there is none."""
    found = (value for path, value in _leaves(parse(parameters)) if path.rpartition(".")[2] == name)
    return next(found, None)


def differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """For each row ``field=value`` of the fields in which the rows differ; empty texts where they do not."""
    fields = sorted({field for row in rows for field in row})
    telling = [field for field in fields if any(row.get(field) != rows[0].get(field) for row in rows)]
    return [", ".join(f"{field}={_short(row[field])}" for field in telling if field in row) for row in rows]


def parse(parameters: Any) -> dict[str, Any]:
    """The fields in a column of JSON; none where the column is missing."""
    return json.loads(parameters) if isinstance(parameters, str) else {}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every field of a nested value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, f"{path}.{key}" if path else str(key))


def _short(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else str(value)
