"""Data of the page's scripts: the trials by column, and the style of each method."""

from __future__ import annotations

import json
import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from scipy import stats

from sparsweep.analysis.figures import labels, ratio_heatmap, style
from sparsweep.analysis.groups import (
    ARM_KEYS,
    COMPARISON_KEYS,
    DENSE,
    METHOD_KEYS,
    fill_grid,
    grid,
    normalize_keys,
    replicates,
    summarise,
)
from sparsweep.analysis.naming import data_titles, difficulty, setting_titles
from sparsweep.trainables.storage import schemas

_LEFT_OUT = ("spec",)  # a kilobyte a trial; it stays in the Parquet
_FEW = 0.5  # share of distinct values below which a column is written as levels and codes
_COLOR_STEPS = 64
_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def data(trials: pd.DataFrame, asked: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return everything that the scripts need, as plain values. ``asked``: as in ``Results``.

    ``columns``: those of the tables, plus ``setting`` (title), ``data`` (title of data set and network), ``hardness``,
    ``method`` (label), ``comparison`` and ``arm`` (numbers), and ``counted`` (false for a repeated seed). ``methods``:
    styles by label. ``t``: Student's t at 0.975 by the number of seeds. ``colors``: the diverging scale from lowest to
    highest. ``missing``: setting, data ratio, method and sparsity of each planned point that is not finished.
    """
    rows = normalize_keys(trials.sort_values("trial"))
    names = labels.methods(rows)
    grouped = rows.assign(
        setting=setting_titles(rows) if len(rows) else "",
        data=data_titles(rows) if len(rows) else "",
        hardness=[difficulty(*pair) for pair in zip(rows["difficulty"], rows["difficulty_parameters"], strict=True)],
        method=[names[pair][0] for pair in zip(*(rows[name] for name in METHOD_KEYS), strict=True)],
        comparison=rows.groupby(list(COMPARISON_KEYS), dropna=False).ngroup(),
        arm=rows.groupby(list(ARM_KEYS), dropna=False).ngroup(),
        counted=rows["trial"].isin(replicates(rows)["trial"]),
    )
    most = int(grouped.groupby("arm").size().max()) if len(rows) else 1
    return {
        "count": len(rows),
        "columns": {name: column(grouped[name]) for name in grouped.columns if name not in _LEFT_OUT},
        "table_columns": [name for name in schemas.SCHEMAS["trials"].names if name not in _LEFT_OUT],
        "meanings": {field.name: field.metadata[b"description"].decode() for field in schemas.SCHEMAS["trials"]},
        "methods": {label: style_kwargs(str(key[0]), variant) for key, (label, variant) in names.items()},
        "missing": _missing(grouped, asked),
        "t": [None, None, *(float(stats.t.ppf(0.975, n - 1)) for n in range(2, most + 1))],
        "colors": [to_hex(mpl.colormaps[ratio_heatmap.COLORS](place)) for place in np.linspace(0, 1, _COLOR_STEPS)],
    }


def _missing(rows: pd.DataFrame, asked: pd.DataFrame | None) -> list[list[Any]]:
    """Return the missing points of the comparisons and methods in ``rows``."""
    sparse = rows[rows["sparsifier"] != DENSE]
    if sparse.empty:
        return []
    wanted = grid(sparse) if asked is None else asked[asked["sparsifier"] != DENSE]
    points = fill_grid(summarise(sparse), wanted)
    gone = points.loc[points["n"] == 0, list(ARM_KEYS)]
    gone = gone.merge(rows[[*COMPARISON_KEYS, "setting"]].drop_duplicates(), on=list(COMPARISON_KEYS))
    gone = gone.merge(rows[[*METHOD_KEYS, "method"]].drop_duplicates(), on=list(METHOD_KEYS))
    return gone[["setting", "data_ratio", "method", "sparsity"]].to_numpy(dtype=object).tolist()


def column(values: pd.Series) -> dict[str, Any]:
    """Return ``{"values": [...]}``, or ``{"levels": [...], "codes": [...]}`` if few values repeat. null is missing."""
    plain = [_plain(value) for value in values]
    levels = list(dict.fromkeys(plain))
    if len(levels) > _FEW * len(plain):
        return {"values": plain}
    place = {level: code for code, level in enumerate(levels)}
    return {"levels": levels, "codes": [place[value] for value in plain]}


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


def style_kwargs(sparsifier: str, variant: int) -> dict[str, Any]:
    """Return color, dashes and marker of a method for SVG. The marker has size 1."""
    line = style.line(sparsifier, variant)
    return {
        "dense": sparsifier == DENSE,
        "color": line["color"],
        "dash": dashes(line["linestyle"]),
        "marker": marker(line["marker"]),
        "size": line["markersize"],
        "hollow": "markerfacecolor" in line,
        "filled": line["marker"] not in style.UNFILLED,
    }


def dashes(linestyle: Any) -> str:
    """Return ``stroke-dasharray`` for a line of width 1.6. Empty for a solid line."""
    lengths = {"-": (), "--": (3.7, 1.6)}.get(linestyle) if isinstance(linestyle, str) else linestyle[1]
    return " ".join(f"{1.6 * length:g}" for length in lengths or ())


def marker(shape: Any) -> str:
    """Return the path of a marker of size 1 around the origin, y downwards. Empty for none."""
    drawn = MarkerStyle(shape)
    path = drawn.get_path().transformed(drawn.get_transform())
    parts = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        pairs = points.reshape(-1, 2) if code != Path.CLOSEPOLY else np.empty((0, 2))
        parts.append(_COMMANDS[code] + " ".join(f"{x:.3f},{-y:.3f}" for x, y in pairs))
    return "".join(parts)


def as_script(value: Any) -> str:
    """Return JSON for a script element. It contains no ``<``."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
