"""Test accuracy over sparsity, a line a method and a panel a data ratio: the form of Figures 2, 4, 5 and 9.

Xiao et al., BMVC 2024. Each panel is one comparison: the same data set, network, difficulty, data ratio and recipe. A
marker is the mean over seeds, its bar one sample standard deviation to each side; markers at one sparsity are set a
little apart so that bars can be seen. The dashed line is the dense network, its band one standard deviation to each
side. A method whose marker lies above the line learns these samples better than dense. A gap in a line, with a cross of
its colour at the foot of the panel, is a sparsity that was not run or is not finished; nothing is drawn across it. A
small number beside a marker is its n, where that is not the n of most. A ring marks a point with under-trained
networks, at the right end of the line for dense. The spread is that of seeds, unpaired:
``ratio_heatmap`` says which differences to dense are more than chance.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arms import ARM, DENSE, METHOD, complete, replicates, summarise
from analysis.figures import labels, layout, style

_MISSING: dict[str, Any] = {"marker": "x", "markersize": 4, "linestyle": "none"}
_FOOT = 0.02  # of a panel's height
_DODGE, _WIDEST_DODGE = 0.08, 0.6  # between two methods and between the outermost, in distances of places


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a point: what identifies the arm, ``n`` seeds, ``accuracy_percent`` (mean) and ``std_percent`` (ddof=1).

    ``undertrained``: how many of the seeds are. Sparse points of the grid that are missing have ``n`` = 0 and no
    values. ValueError without any finished trial.
    """
    known = replicates(trials)
    if known.empty:
        raise ValueError("there is no finished trial to draw")
    summary, is_sparse = summarise(known), known["sparsifier"] != DENSE
    dense = summary[summary["sparsifier"] == DENSE]
    points = complete(summary[summary["sparsifier"] != DENSE], trials[trials["sparsifier"] != DENSE])
    points = pd.concat([dense, points], ignore_index=True) if is_sparse.any() else dense
    values = {"accuracy_percent": 100 * points["mean"], "std_percent": 100 * points["std"]}
    return points.assign(**values)[[*ARM, "n", *values, "undertrained"]].sort_values(list(ARM), ignore_index=True)


def draw(trials: pd.DataFrame) -> Figure:
    """The picture of :func:`table`, drawn without global state."""
    points = table(trials)
    figure = layout.panels(points, ["data_ratio"], _paint, "sparsity", "test accuracy (%)")
    spread = "mean ± standard deviation over seeds" if (points["n"] > 1).any() else None
    crosses = [Line2D([], [], color="black", label="missing", **_MISSING)] if (points["n"] == 0).any() else []
    layout.legend(figure, labels.methods(points), spread, more=[*crosses, *layout.undertrained_key(points)])
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    is_dense = panel["sparsifier"] == DENSE
    grid = np.sort(panel.loc[~is_dense, "sparsity"].unique())
    shifts = beside(grid, [key for key in methods if key[0] != DENSE])
    shown: list[layout.Point] = []
    for _, dense in panel[is_dense].groupby(list(METHOD)):
        level(axes, dense, "accuracy_percent", "std_percent", label=style.of(DENSE).label)
        shown += layout.points([None], dense["accuracy_percent"], dense["n"], style.of(DENSE).color)
        if dense["undertrained"].any():
            axes.plot(1, dense["accuracy_percent"], transform=axes.get_yaxis_transform(), **style.UNDERTRAINED)
    for key, points in panel[~is_dense].sort_values("sparsity").groupby(list(METHOD)):
        label, variant = methods[key]
        places = points["sparsity"] + shifts[key]
        _add_line(axes, places, points, {**style.line(str(key[0]), variant), "label": label})
        shown += layout.points(places, points["accuracy_percent"], points["n"], style.of(str(key[0])).color)
        layout.ring_undertrained(axes, places, points["accuracy_percent"], points["undertrained"])
    axes.set_xticks(grid, [f"{sparsity:g}" for sparsity in grid])
    layout.count_seeds(axes, shown)
    if not is_dense.any():
        layout.remark(axes, "no dense trials")
    axes.grid(axis="x", visible=False)


def _add_line(axes: Axes, places: pd.Series, points: pd.DataFrame, looks: dict[str, Any]) -> None:
    """One method: markers with bars, a gap where there is no value, and a cross at the foot beneath it."""
    there = points["n"] > 0
    if there.any():
        spread = points["std_percent"].to_numpy() if (points["n"] > 1).any() else None
        mean = points["accuracy_percent"].to_numpy()
        axes.errorbar(places.to_numpy(), mean, yerr=spread, elinewidth=0.8, capsize=2, **looks)
    feet = np.full(np.count_nonzero(~there), _FOOT)
    axes.plot(places[~there], feet, transform=axes.get_xaxis_transform(), color=looks["color"], **_MISSING)


def level(axes: Axes, dense: pd.DataFrame, mean: str, std: str, **options: Any) -> None:
    """The dense network as a line across, with a band of one standard deviation to each side."""
    looks, height, spread = style.line(DENSE), float(dense[mean].iloc[0]), float(dense[std].iloc[0])
    axes.axhline(height, zorder=1.5, **looks, **options)
    if not math.isnan(spread):
        axes.axhspan(height - spread, height + spread, color=looks["color"], alpha=0.12, linewidth=0, zorder=0.5)


def beside(grid: np.ndarray, methods: list[labels.Key]) -> dict[labels.Key, float]:
    """How far each method's markers stand beside the place in ``grid`` (ascending) that they belong to."""
    between = float(np.diff(grid).min()) if len(grid) > 1 else 0.1
    step = between * min(_DODGE, _WIDEST_DODGE / max(len(methods) - 1, 1))
    return {key: step * (place - (len(methods) - 1) / 2) for place, key in enumerate(methods)}
