"""Difference to dense over sparsity and data ratio, a panel a method: the form of Figure 3 of the paper.

Xiao et al., BMVC 2024, Figure 3 (there: SET against dense, EL2N, data ratios and sparsities .1 to .9). A cell is the
mean over seeds of the method's test accuracy minus that of dense trained with the same seed, on the same samples and
by the same recipe, in percentage points: blue where the method is better, red where dense is. All panels share one
scale, centred at 0. A value in parentheses is not significant: its 95 % paired Student-t interval contains 0, or there
is no interval because n = 1. Intervals are not corrected for the number of cells: of many cells without any true
difference, one in twenty stands without parentheses. A hatched grey cell is missing: it, or dense, is not finished.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from analysis.arms import ARM, DENSE, METHOD, complete, paired_differences
from analysis.figures import labels, style

COLORS = "RdBu"
_CELL_WIDTH, _CELL_HEIGHT, _LINE_HEIGHT = 0.5, 0.32, 0.16  # inches
_PANEL_MARGIN = (0.55, 0.75)
_NARROWEST, _WIDEST = 2.2, 10.5  # a panel, the figure
_MISSING: dict[str, Any] = {"facecolor": "#f0f0f0", "edgecolor": "#9a9a9a", "hatch": "xxxx", "linewidth": 0}


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: what identifies the arm, ``n`` pairs, ``difference_points`` (mean), its interval, ``significant``.

    ``low_points`` and ``high_points`` bound the 95 % paired interval, in percentage points, NaN if n = 1;
    ``significant``: it excludes 0. Missing cells have ``n`` = 0 and no values. ValueError without any pair.
    """
    differences = paired_differences(trials)
    if differences.empty:
        raise ValueError("no finished sparse trial has a dense partner of the same seed and setting")
    cells = complete(differences, trials[trials["sparsifier"] != DENSE])
    names = {"mean": "difference_points", "low": "low_points", "high": "high_points"}
    values = {new: 100 * cells[old] for old, new in names.items()}
    significant = (cells["low"] > 0) | (cells["high"] < 0)
    cells = cells.assign(**values, significant=significant)
    return cells[[*ARM, "n", *values, "significant"]].sort_values(list(ARM), ignore_index=True)


def draw(trials: pd.DataFrame) -> Figure:
    """The picture of :func:`table`, drawn without global state."""
    cells = table(trials)
    titles, methods = labels.settings(cells), labels.methods(cells)
    settings, panels = sorted(titles.unique()), dict(iter(cells.groupby([titles, *METHOD])))
    sizes = cells.groupby(titles)[["sparsity", "data_ratio"]].nunique().max()
    width = max(sizes["sparsity"] * _CELL_WIDTH + _PANEL_MARGIN[0], _NARROWEST)
    heads = {key: _head(str(key[0]) if len(settings) > 1 else "", methods[key[1:]][0], width) for key in panels}
    lines = max(head.count("\n") for head in heads.values())
    height = sizes["data_ratio"] * _CELL_HEIGHT + _PANEL_MARGIN[1] + lines * _LINE_HEIGHT
    columns, blocks = _grid(len(methods), width)
    rows = blocks * len(settings)
    limit = float(cells["difference_points"].abs().max()) or 1.0
    norm = Normalize(-limit, limit)
    with style.context():
        figure = Figure(figsize=(max(columns * width + 1, 5.5), max(rows * height + 0.9, 3.0)), layout="constrained")
        for (block, setting), (number, method) in product(enumerate(settings), enumerate(methods)):
            if (setting, *method) not in panels:
                continue
            row, column = block * blocks + number // columns, number % columns
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            _draw_panel(axes, panels[setting, *method], norm)
            axes.set_title(heads[setting, *method], loc="left")
            if column == 0:
                axes.set_ylabel("data ratio")
            if block == len(settings) - 1 and number + columns >= len(methods):
                axes.set_xlabel("sparsity")
        if len(settings) == 1:
            figure.suptitle(settings[0])
        _add_keys(figure, cells, norm)
    return figure


def _grid(panels: int, width: float) -> tuple[int, int]:
    """Columns and rows for the panels of one setting, evenly filled; ``width`` of a panel in inches."""
    rows = math.ceil(panels / max(1, int(_WIDEST / width)))
    return math.ceil(panels / rows), rows


def _head(setting: str, method: str, width: float) -> str:
    """The title of a panel ``width`` inches wide: the method, and above it the setting where there are several."""
    return "\n".join(labels.wrap(text, width - _PANEL_MARGIN[0]) for text in (setting, method) if text)


def _draw_panel(axes: Axes, cells: pd.DataFrame, norm: Normalize) -> None:
    """Cells at whole numbers: column, row = index of the sparsity, index of the data ratio."""
    by_place = cells.pivot(index="data_ratio", columns="sparsity", values="difference_points")
    sure = cells.pivot(index="data_ratio", columns="sparsity", values="significant")
    values = by_place.to_numpy(dtype=float)
    mesh = _mesh(axes, values, norm)
    colors = mesh.to_rgba(values)
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(value):
            axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, **_MISSING))
            continue
        text = signed(value) if sure.iat[row, column] else f"({signed(value)})"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=_readable(colors[row, column]))
    axes.set_xticks(range(by_place.shape[1]), [f"{sparsity:g}" for sparsity in by_place.columns])
    axes.set_yticks(range(by_place.shape[0]), [f"{ratio:g}" for ratio in by_place.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _mesh(axes: Axes, values: np.ndarray, norm: Normalize) -> QuadMesh:
    """The coloured cells; what is missing stays transparent."""
    # Edges, not centres: matplotlib guesses the width of a cell from its neighbours, and a single one has none.
    columns, rows = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    return axes.pcolormesh(
        columns, rows, np.ma.masked_invalid(values), cmap=COLORS, norm=norm, edgecolors="white", linewidth=0.8
    )


def signed(value: float) -> str:
    """One decimal and a sign that is not a hyphen; what rounds to 0 has none."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _readable(color: np.ndarray) -> str:
    """Black or white, whichever stands out on ``color`` ([4]: red, green, blue, alpha in [0, 1])."""
    red, green, blue = color[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _add_keys(figure: Figure, cells: pd.DataFrame, norm: Normalize) -> None:
    """The colour scale at the right, and beneath the panels what the marks mean."""
    scale = ScalarMappable(norm, mpl.colormaps[COLORS])
    figure.colorbar(scale, ax=figure.axes, label="test accuracy minus dense\n(percentage points)", aspect=30)
    without = "95 % interval contains 0" if (cells["n"] != 1).all() else "95 % interval contains 0, or n = 1"
    handles: list[Artist] = [
        Line2D([], [], linestyle="none", marker="$(\\pm)$", markersize=13, markeredgewidth=0, color="black")
    ]
    texts = [f"{without} (not corrected for the number of cells)"]
    if (cells["n"] == 0).any():
        handles.append(Patch(**_MISSING))
        texts.append("missing")
    title = f"mean over seeds of the paired difference, {labels.seeds(cells['n'])}"
    figure.legend(handles, texts, loc="outside lower center", ncols=2, frameon=False, title=title)
