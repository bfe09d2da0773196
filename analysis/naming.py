"""Short titles for settings: they name the fields that differ among the settings shown together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pandas as pd

from sparsweep.analysis.groups import DATA_KEYS, SETTING_KEYS

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
"""Names as in the literature. All other names stay as they are."""

ALL_DATA = "all data"
"""Title of a data ratio of 1: nothing is selected, whatever the scores."""


def setting_titles(points: pd.DataFrame) -> pd.Series:
    """Return a title per row: data set, network, difficulty. Different settings have different titles.

    Recipe and parameters appear only if they distinguish two settings. If no sample was ever left out, the title says
    "all data".
    """
    whole = points.groupby(list(SETTING_KEYS), dropna=False)["data_ratio"].transform("min").eq(1)

    def short(row: dict[Hashable, Any]) -> str:
        hardness = difficulty(row["difficulty"], row["difficulty_parameters"], selects=not row["whole"])
        return f"{row['dataset']} / {row['model']}, {hardness}"

    return _titles(points.assign(whole=whole), SETTING_KEYS, short)


def data_titles(points: pd.DataFrame) -> pd.Series:
    """Return a title per row for data set and network, as in :func:`setting_titles`."""
    return _titles(points, DATA_KEYS, lambda row: f"{row['dataset']} / {row['model']}")


def _titles(points: pd.DataFrame, keys: Sequence[str], short: Any) -> pd.Series:
    """Return the short title of each row's group by ``keys``, extended where two groups have the same."""
    groups = points.groupby(list(keys), dropna=False)
    rows = groups.head(1).assign(number=groups.ngroup()).to_dict("records")
    alike: dict[str, list[dict[Hashable, Any]]] = defaultdict(list)
    for row in rows:
        alike[short(row)].append(row)
    titles: dict[int, str] = {}
    for title, group in alike.items():
        for row, more in zip(group, distinguishing_fields([_details(row, keys) for row in group]), strict=True):
            titles[row["number"]] = f"{title}, {more}" if more else title
    return groups.ngroup().map(titles)


def _details(row: dict[Hashable, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return all fields of a setting that its title leaves out. None if an older table lacks them."""
    said = _NAMED[:2] if row.get("whole") else _NAMED  # "all data" does not say whose scores would have chosen
    details = {name: row[name] for name in keys if name not in (*said, *_PARAMETERS)}
    for column in _PARAMETERS:
        details |= dict(_leaves(parse(row.get(column))))
    return {
        name: None if pd.isna(value) else value
        for name, value in details.items()
        if row.get("whole") or name.rpartition(".")[2] not in _SAID
    }


def difficulty(name: str, parameters: Any, selects: bool = True) -> str:
    """Return a title such as ``EL2N``, ``EL2N, easiest kept`` or ``corrupted (severity 5)``.

    ``selects``: whether any sample is left out. If not, ``EL2N`` becomes ``all data``.
    """
    severity, keep = parameter(parameters, "severity"), parameter(parameters, "keep")
    parts = name.split("+")
    said = [DIFFICULTIES.get(part, part) for part in parts]
    if not selects and (keep is not None or parts == ["none"]):
        said = [ALL_DATA, *said[1:]]
    label = " + ".join(said)
    if severity is not None:
        label = f"{label} (severity {severity})"
    return label if keep in (None, "hardest") or not selects else f"{label}, {keep} kept"


def parameter(parameters: Any, name: str) -> Any:
    """Return the first field called ``name`` at any depth of the JSON ``parameters``. None if there is none."""
    found = (value for path, value in _leaves(parse(parameters)) if path.rpartition(".")[2] == name)
    return next(found, None)


def distinguishing_fields(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return per row ``field=value`` for the fields in which the rows differ. Empty if they do not differ."""
    return [", ".join(f"{field}={brief(value)}" for field, value in row.items()) for row in telling(rows)]


def telling(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per row the fields in which the rows differ, in alphabetical order."""
    fields = sorted({field for row in rows for field in row})
    differ = [field for field in fields if any(row.get(field) != rows[0].get(field) for row in rows)]
    return [{field: row[field] for field in differ if field in row} for row in rows]


def parse(parameters: Any) -> dict[str, Any]:
    """Return the fields in a column of JSON. Empty if the column is missing."""
    return json.loads(parameters) if isinstance(parameters, str) else {}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted path and value of every field of a nested value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, f"{path}.{key}" if path else str(key))


def brief(value: Any) -> str:
    """Return a parameter's value as figures write it."""
    if value is None:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else str(value)
