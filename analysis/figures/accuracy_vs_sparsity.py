"""Test accuracy over sparsity, a line a method and a panel a data ratio: the form of Figure 2 of the paper.

Xiao et al., BMVC 2024, Figure 2 (there: EL2N at data ratios .5 and .3). Each panel is one comparison: the same data
set, network, difficulty, data ratio and recipe. A marker is the mean over seeds, its bar one sample standard deviation
to each side; markers at one sparsity are set a little apart so that bars can be seen. The dashed line is the dense
network, its band one standard deviation to each side. A method whose marker lies above the line learns these samples
better than dense. A gap in a line is a sparsity that was not run or is not finished; nothing is drawn across
it. The spread is that of seeds, unpaired: ``ratio_heatmap`` says which differences to dense are more than chance.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import ARM, DENSE, METHOD, complete, replicates, summarise
from analysis.figures import labels, style

_PANEL_WIDTH, _PANEL_HEIGHT, _LEGEND_ENTRY = 3.3, 2.7, 1.25  # inches
_MOST_COLUMNS = 3  # wider figures have unreadable text once they stand on a page
_DODGE, _WIDEST_DODGE = 0.08, 0.6  # between two methods and between the outermost, in distances of sparsities


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a point: what identifies the arm, ``n`` seeds, ``accuracy_percent`` (mean) and ``std_percent`` (ddof=1).

    Sparse points of the grid that are missing have ``n`` = 0 and no values. ValueError without any finished trial.
    """
    known = replicates(trials)
    if known.empty:
        raise ValueError("there is no finished trial to draw")
    summary, is_sparse = summarise(known), known["sparsifier"] != DENSE
    dense = summary[summary["sparsifier"] == DENSE]
    points = complete(summary[summary["sparsifier"] != DENSE], trials[trials["sparsifier"] != DENSE])
    points = pd.concat([dense, points], ignore_index=True) if is_sparse.any() else dense
    values = {"accuracy_percent": 100 * points["mean"], "std_percent": 100 * points["std"]}
    return points.assign(**values)[[*ARM, "n", *values]].sort_values(list(ARM), ignore_index=True)


def draw(trials: pd.DataFrame) -> Figure:
    """The picture of :func:`table`, drawn without global state."""
    points = table(trials)
    titles, methods = labels.settings(points), labels.methods(points)
    panels = [panel for _, panel in points.groupby([titles, "data_ratio"])]
    columns, rows = _grid(len(panels), points["data_ratio"].nunique())
    size = (max(columns * _PANEL_WIDTH, 4 * _LEGEND_ENTRY), rows * _PANEL_HEIGHT + 0.9)
    with style.context():
        figure = Figure(figsize=size, layout="constrained")
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, number + 1)
            _draw_panel(axes, panel, methods)
            ratio = f"data ratio {panel['data_ratio'].iloc[0]:g}"
            title = labels.wrap(titles[panel.index[0]], _PANEL_WIDTH - 0.4)
            axes.set_title(ratio if titles.nunique() == 1 else f"{title}\n{ratio}", loc="left")
            if number % columns == 0:
                axes.set_ylabel("test accuracy (%)")
            if number + columns >= len(panels):
                axes.set_xlabel("sparsity")
        if titles.nunique() == 1:
            figure.suptitle(titles.iloc[0])
        _add_legend(figure, [label for label, _ in methods.values()], spread=bool((points["n"] > 1).any()))
    return figure


def _grid(panels: int, ratios: int) -> tuple[int, int]:
    """Columns and rows, evenly filled: a row a setting where its data ratios fit into one."""
    in_line = ratios if ratios > 1 else panels
    columns = math.ceil(in_line / math.ceil(in_line / _MOST_COLUMNS))
    return columns, math.ceil(panels / columns)


def _draw_panel(axes: Axes, panel: pd.DataFrame, methods: dict[labels.Key, tuple[str, int]]) -> None:
    sparse = panel[panel["sparsifier"] != DENSE]
    grid = np.sort(sparse["sparsity"].unique())
    shifts = _shifts(grid, [key for key in methods if key[0] != DENSE])
    for key, points in panel.groupby(list(METHOD)):
        label, variant = methods[key]
        looks = style.line(str(key[0]), variant)
        if key[0] == DENSE:
            level, std = float(points["accuracy_percent"].iloc[0]), float(points["std_percent"].iloc[0])
            axes.axhline(level, label=label, zorder=1.5, **looks)
            if not math.isnan(std):
                axes.axhspan(level - std, level + std, color=looks["color"], alpha=0.12, linewidth=0, zorder=0.5)
        elif points["n"].any():
            points = points.sort_values("sparsity")
            spread = points["std_percent"].to_numpy() if (points["n"] > 1).any() else None
            place, mean = points["sparsity"].to_numpy() + shifts[key], points["accuracy_percent"].to_numpy()
            axes.errorbar(place, mean, yerr=spread, label=label, elinewidth=0.8, capsize=2, **looks)
    axes.set_xticks(grid, [f"{sparsity:g}" for sparsity in grid])
    axes.set_title(_note(panel["n"]), loc="right", fontsize=8, color="#555555")
    if not (panel["sparsifier"] == DENSE).any():
        axes.margins(y=0.16)  # room beneath the data
        axes.text(0.02, 0.03, "no dense trials", transform=axes.transAxes, fontsize=8, color="#555555")
    axes.grid(axis="x", visible=False)


def _shifts(grid: np.ndarray, methods: list[labels.Key]) -> dict[labels.Key, float]:
    """How far each method's markers stand beside the sparsity that they belong to."""
    between = float(np.diff(grid).min()) if len(grid) > 1 else 0.1
    step = between * min(_DODGE, _WIDEST_DODGE / max(len(methods) - 1, 1))
    return {key: step * (place - (len(methods) - 1) / 2) for place, key in enumerate(methods)}


def _note(counts: pd.Series) -> str:
    """How many seeds stand behind the points of a panel."""
    there = counts[counts > 0]
    if there.max() == 1:
        return "n = 1: no spread"
    return labels.seeds(counts) + (" (no bar: n = 1)" if there.min() == 1 else "")


def _add_legend(figure: Figure, names: list[str], spread: bool) -> None:
    """One legend beneath all panels, in the order of ``names``."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        found, texts = axes.get_legend_handles_labels()
        handles |= dict(zip(texts, found, strict=True))
    shown = [name for name in names if name in handles]
    columns = min(len(shown), max(1, int(figure.get_figwidth() / _LEGEND_ENTRY)))
    columns = math.ceil(len(shown) / math.ceil(len(shown) / columns))
    title = "mean ± standard deviation over seeds" if spread else None
    figure.legend(
        [handles[name] for name in shown],
        shown,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title=title,
        handlelength=3,
    )
