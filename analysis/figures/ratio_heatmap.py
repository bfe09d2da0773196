"""Difference to dense over sparsity and data ratio, one panel per method: the form of Figure 3 of the paper.

Xiao et al., BMVC 2024, Figure 3 (there: SET against dense, EL2N, data ratios and sparsities 0.1 to 0.9). A cell is the
mean over seeds of the method's test accuracy minus that of dense with the same seed, samples and recipe, in percentage
points. Blue: the method is better. Red: dense is better. All panels share one scale, centered at 0. A value in
parentheses is not significant (two-sided paired t-test, Holm's correction over all testable cells of the figure, 0.05).
With one seed, or equal differences, there is no test. A small number in the corner of a cell is its n, if it differs
from most. A dagger marks a cell with under-trained networks. A hatched gray cell was planned, but it or its dense
partner is not finished. A place without a plan has no cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
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
from matplotlib.patches import Patch, Rectangle

from sparsweep.analysis.figures import fonts, labels, layout, marks, style
from sparsweep.analysis.figures.export import NotebookFigure
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import ARM_KEYS, DENSE, METHOD_KEYS, SPARSE, fill_grid, grid, paired_differences
from sparsweep.analysis.naming import setting_titles

COLORS = "RdBu"
TITLE = "<title>"
"""Label of axes that hold only the title of a setting."""

_CELL_WIDTH, _CELL_HEIGHT, _LINE_HEIGHT = 0.5, 0.32, 0.16  # inches
_PANEL_MARGIN = (0.55, 0.75)
_TITLE_HEIGHT = 0.3
_NARROWEST, _WIDEST = 2.2, 10.5  # a panel, all panels of a row
_SCALE = 1.0  # the colour scale with its label
_LONGEST = "(−10.0)†"
_TEXT, _SMALLEST = 7.5, 3.5  # points, of the number in a cell


def table(trials: pd.DataFrame, asked: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per cell: the arm, ``n`` pairs, ``difference_points`` (mean), and its certainty.

    ``low_points`` and ``high_points``: 95 % paired interval of the cell alone, in percentage points; NaN if n = 1.
    ``p`` (paired t), ``p_wilcoxon`` and ``p_holm`` (``p`` corrected over all cells). ``significant``: ``p_holm`` <
    0.05. ``undertrained``: pairs with an under-trained trial. Missing cells, of ``asked`` or of the grid of
    ``trials``, have ``n`` = 0.

    Raises:
        ValueError: There is no pair.
    """
    differences = paired_differences(trials)
    if differences.empty:
        raise ValueError("no finished sparse trial has a dense partner of the same seed and setting")
    wanted = trials if asked is None else asked
    wanted = wanted[wanted["sparsifier"] != DENSE]
    cells = fill_grid(differences, grid(wanted) if asked is None else wanted)
    names = {"mean": "difference_points", "low": "low_points", "high": "high_points"}
    values = {new: 100 * cells[old] for old, new in names.items()}
    cells = cells.assign(**values, significant=cells["significant"].eq(True))
    columns = [*ARM_KEYS, "n", *values, "p", "p_wilcoxon", "p_holm", "significant", "undertrained"]
    return cells[columns].sort_values(list(ARM_KEYS), ignore_index=True)


def draw(trials: pd.DataFrame, asked: pd.DataFrame | None = None, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    cells = table(trials, asked)
    titles, methods = setting_titles(cells), labels.methods(cells)
    most = int(cells.groupby(titles)["sparsity"].nunique().max())
    widest = form.width - _SCALE if form.width else _WIDEST
    width = min(max(most * _CELL_WIDTH + _PANEL_MARGIN[0], _NARROWEST), widest)
    columns = _columns(
        cells.groupby(titles)[list(METHOD_KEYS)].value_counts().groupby(level=0).size().max(), width, widest
    )
    if form.width:
        width = (form.width - _SCALE) / columns
    cell = (width - _PANEL_MARGIN[0]) / most
    heads = {key: labels.wrap(label, width - _PANEL_MARGIN[0], 9) for key, (label, _) in methods.items()}
    blocks = [(labels.wrap(str(title), columns * width), block) for title, block in cells.groupby(titles)]
    rows = [row for title, block in blocks for row in _rows(title, block, heads, columns)]
    if titles.nunique() == 1:
        rows = rows[1:]
    limit = float(cells["difference_points"].abs().max()) or 1.0
    norm = Normalize(-limit, limit)
    heights = [row.height for row in rows]
    with style.context():
        size = form.width or max(columns * width + _SCALE, 5.5), max(sum(heights) + 0.9, 3.0)
        figure = NotebookFigure(figsize=size, layout="constrained")
        cells_at = figure.add_gridspec(len(rows), columns, height_ratios=heights)
        for place, row in enumerate(rows):
            if row.title:
                _add_title(figure.add_subplot(cells_at[place, :]), row.title)
            for column, (key, panel) in enumerate(row.panels):
                axes = figure.add_subplot(cells_at[place, column])
                _draw_panel(axes, panel, norm, labels.modal_n(cells["n"]), cell)
                axes.set_title(heads[key], loc="left")
                axes.set_ylabel("data ratio" if column == 0 else "")
                axes.set_xlabel("sparsity" if row.is_last else "")
        if titles.nunique() == 1:
            figure.suptitle(labels.wrap(titles.iloc[0], size[0] - 0.2))
        _add_keys(figure, cells, norm, form)
        fonts.fit(figure)
    return figure


@dataclass(frozen=True)
class _Row:
    """A row of the figure, ``height`` in inches: the ``title`` of a setting, or some of its panels."""

    height: float
    title: str = ""
    panels: tuple[tuple[labels.Key, pd.DataFrame], ...] = ()
    is_last: bool = False


def _rows(title: str, block: pd.DataFrame, heads: dict[labels.Key, str], columns: int) -> Iterator[_Row]:
    """Return the rows of one setting: its title, then its methods in the order of ``heads``, ``columns`` per row."""
    yield _Row(_TITLE_HEIGHT * (1 + title.count("\n")), title)
    panels = {key: _aligned(panel, block) for key, panel in block.groupby(list(METHOD_KEYS))}
    there = [key for key in heads if key in panels]
    for start in range(0, len(there), columns):
        keys = there[start : start + columns]
        lines = max(heads[key].count("\n") for key in keys)
        height = block["data_ratio"].nunique() * _CELL_HEIGHT + _PANEL_MARGIN[1] + lines * _LINE_HEIGHT
        yield _Row(height, "", tuple((key, panels[key]) for key in keys), start + columns >= len(there))


def _aligned(panel: pd.DataFrame, block: pd.DataFrame) -> pd.DataFrame:
    """Return ``panel`` with a row per place of its setting's grid, so that the cells of all methods align.

    Cells without a plan have no values. A search has no grid, so only its own cells appear.
    """
    axes = [block[[name]].drop_duplicates() for name in ("data_ratio", "sparsity")]
    cells = axes[0].merge(axes[1], how="cross")
    if len(block) < SPARSE * len(cells) * len(block[list(METHOD_KEYS)].drop_duplicates()):
        return panel
    return cells.merge(panel, how="left", on=["data_ratio", "sparsity"])


def _columns(panels: int, width: float, widest: float) -> int:
    """Return the number of panels per row for evenly filled rows. ``width`` of a panel and ``widest`` row in inches."""
    rows = math.ceil(panels / max(1, int(widest / width)))
    return math.ceil(panels / rows)


def _add_title(axes: Axes, title: str) -> None:
    """Add a line of text that takes a row of the grid."""
    axes.set_label(TITLE)
    axes.set_axis_off()
    axes.text(0, 0, title, fontsize=10, va="bottom", transform=axes.transAxes)


def _draw_panel(axes: Axes, cells: pd.DataFrame, norm: Normalize, usual: int, width: float) -> None:
    """Draw cells at integer coordinates (index of sparsity, index of data ratio), with n where it is not ``usual``.

    ``width``: of a cell in inches. Numbers that do not fit are rotated.
    """
    names = ("difference_points", "significant", "n", "undertrained")
    placed = cells.pivot(index="data_ratio", columns="sparsity", values=list(names))
    values, sure, counts, short = (placed[name].to_numpy(dtype=float) for name in names)
    mesh = _mesh(axes, values, norm)
    colors = mesh.to_rgba(values)
    size, turned = _fitting(width)
    for (row, column), value in np.ndenumerate(values):
        if math.isnan(counts[row, column]):
            continue  # nobody asked for it
        if math.isnan(value):
            axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, **style.MISSING))
            continue
        text = signed(value) if sure[row, column] == 1 else f"({signed(value)})"
        text += style.DAGGER if short[row, column] > 0 else ""
        ink = readable(colors[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize=size, rotation=turned, color=ink)
        if (n := counts[row, column]) != usual:
            place = (column + 0.46, row - 0.46)
            axes.text(*place, f"{n:.0f}", ha="right", va="bottom", fontsize=min(5.5, size), color=ink)
    sparsities = placed["n"].columns
    axes.set_xticks(range(len(sparsities)), [f"{sparsity:.4g}" for sparsity in sparsities], rotation=turned)
    axes.set_yticks(range(len(placed)), [f"{ratio:g}" for ratio in placed.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _fitting(width: float) -> tuple[float, int]:
    """Return font size in points and angle at which the longest number fits a cell of ``width`` inches."""
    size = _TEXT * min(1.0, (width - 0.04) / labels.inches(_LONGEST, _TEXT))
    if size >= _SMALLEST:
        return size, 0
    return min(_SMALLEST + 1, _TEXT * (_CELL_HEIGHT - 0.02) / labels.inches(_LONGEST, _TEXT)), 90


def _mesh(axes: Axes, values: np.ndarray, norm: Normalize) -> QuadMesh:
    """Draw the colored cells. Missing ones stay transparent."""
    # Edges, not centres: matplotlib guesses the width of a cell from its neighbours, and a single one has none.
    columns, rows = np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5
    return axes.pcolormesh(
        columns, rows, np.ma.masked_invalid(values), cmap=COLORS, norm=norm, edgecolors="white", linewidth=0.8
    )


def signed(value: float) -> str:
    """Return one decimal with a true minus sign. Values that round to 0 have no sign."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def readable(color: np.ndarray) -> str:
    """Return black or white, whichever contrasts with ``color`` (4,): red, green, blue, alpha in [0, 1]."""
    red, green, blue = color[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _add_keys(figure: Figure, cells: pd.DataFrame, norm: Normalize, form: Form) -> None:
    """Add the color scale at the right, and the meaning of the marks below the panels."""
    scale = ScalarMappable(norm, mpl.colormaps[COLORS])
    label = "test accuracy minus dense\n(percentage points)"
    solids: Any = figure.colorbar(scale, ax=figure.axes, label=label, aspect=30, pad=0.02).solids
    solids.set(rasterized=False, edgecolor="face")  # else it is the one raster image of a vector file
    tests, there = int(cells["p"].notna().sum()), int((cells["n"] > 0).sum())
    said = [f"mean over seeds of the paired difference, {labels.usual_seeds(cells['n'])}"]
    if tests:
        said.append(f"paired t-test, {marks.corrected(tests, there, 'cells')}")
    handles: list[Artist] = [layout.glyph_key("(±)", "not significant" if tests else "n = 1: not tested", 13)]
    for key in layout.undertrained_key(cells, dagger=True):
        key.set_label(f"{key.get_label()} pairs")
        handles.append(key)
    if (cells["n"] == 0).any():
        handles.append(Patch(**style.MISSING, label="missing"))
    layout.add_legend(figure, handles, "; ".join(said), form)
