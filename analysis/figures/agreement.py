"""Agreement in predictions between methods, beside the agreement between seeds of one method.

Each panel is one comparison at one sparsity, the one nearest to ``sparsity`` that was run. A cell is Cohen's kappa (1:
equal predictions, 0: as if by chance) on the test images, averaged over pairs of trials. Below the diagonal both trials
have the same seed. On the diagonal they are of one method and have different seeds: the baseline, which tells how much
the seed alone changes. Two methods that agree no more than that have little in common. A dagger marks a cell with
under-trained networks. A method with one seed has no baseline: its cell on the diagonal is empty.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, table_of_test
from sparsweep.analysis.figures.ratio_heatmap import readable
from sparsweep.analysis.groups import COMPARISON_KEYS, METHOD_KEYS
from sparsweep.analysis.outcomes import agreement
from sparsweep.analysis.outcomes.agreement import OTHER_KEYS

COLORS = "GnBu"
_CELL, _NAMES = 0.34, 1.0  # inches
_LINE = 0.12  # smallest height of a row, beside which stands a name
_TEXT, _SMALLEST = 7.0, 3.5  # points, of the number in a cell


def table(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per pair of methods, both orders, and per method with itself.

    Columns: the arm, ``other_sparsifier``, ``other_sparsifier_parameters``, ``other_sparsity``, ``n`` pairs of trials,
    ``undertrained`` (pairs with an under-trained trial), ``kappa`` in [-1, 1] and ``churn_percent`` (images whose
    predictions differ), means over pairs; ``at_sparsity``: sparsity of the panel.

    Raises:
        ValueError: No trial has per-sample outcomes, or no two of them can be compared.
    """
    found = table_of_test(agreement.agreement, trials, outcomes, sparsity)
    at = found.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("max")
    return found.assign(churn_percent=100 * found["churn"], at_sparsity=at).drop(columns="churn")


def draw(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    cells = table(trials, outcomes, sparsity)
    known = cells["kappa"].dropna()
    norm = Normalize(float(known.min()) - 0.01, float(known.max()) + 0.01) if len(known) else Normalize(0, 1)
    names = labels.methods(cells)
    count = max(len(names), 3)
    wanted = max(layout.PANEL[0], count * _CELL + _NAMES + 0.5)
    width = min(wanted, form.width or wanted)
    size = (width, count * max(0.8 * (width - _NAMES - 0.5) / count, _LINE) + _NAMES + 0.3)

    def paint(axes: Axes, panel: pd.DataFrame, _: layout.Methods) -> None:
        _paint(axes, panel, names, norm)

    figure = layout.panels(cells, ["data_ratio", "at_sparsity"], paint, "", "", size, form, families=False)
    _add_keys(figure, cells, norm, form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, norm: Normalize) -> None:
    own = set(panel[list(METHOD_KEYS)].itertuples(index=False, name=None))
    order = [key for key in methods if key in own]
    place = {key: number for number, key in enumerate(order)}
    rows = [place[key] for key in panel[list(METHOD_KEYS)].itertuples(index=False, name=None)]
    columns = [place[key] for key in panel[list(OTHER_KEYS[:2])].itertuples(index=False, name=None)]
    values = np.full((len(order), len(order)), np.nan)
    short = np.zeros(values.shape, dtype=bool)
    values[rows, columns], short[rows, columns] = panel["kappa"], panel["undertrained"] > 0
    values[np.triu_indices(len(order), 1)] = np.nan
    edges = np.arange(len(order) + 1) - 0.5
    looks: dict[str, Any] = {"cmap": COLORS, "norm": norm, "edgecolors": "white", "linewidth": 0.8}
    mesh = axes.pcolormesh(edges, edges, np.ma.masked_invalid(values), **looks)
    names = [methods[key][0] for key in order]
    _name_rows(axes, names)
    _write(axes, values, short, mesh.to_rgba(values))
    axes.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(order) - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    marks.note(axes, labels.seeds(panel["n"]) + " pairs")


def _name_rows(axes: Axes, names: list[str]) -> None:
    """Write the names of methods below the columns and beside the rows."""
    width = marks.breadth(axes) - _NAMES + 0.4
    layout.name_places(axes, names, width)
    size = min(8.0, max(3.5, 60 * width / len(names)))
    axes.set_yticks(range(len(names)), [labels.wrap(name, _NAMES, size) for name in names], fontsize=size)


def _write(axes: Axes, values: np.ndarray, short: np.ndarray, colors: np.ndarray) -> None:
    """Write each value into its cell. In cells that are too small, only the dagger is written."""
    cell = (marks.breadth(axes) - _NAMES) / len(values)
    size = min(_TEXT, _TEXT * (cell - 0.03) / labels.inches("0.00†", _TEXT))
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            number = f"{value:.2f}".replace("-", "−") if size >= _SMALLEST else ""
            text = number + (style.DAGGER if short[row, column] else "")
            ink = readable(colors[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=max(size, _SMALLEST), color=ink)


def _add_keys(figure: Figure, cells: pd.DataFrame, norm: Normalize, form: Form) -> None:
    """Add the color scale below the panels, and the meaning of diagonal and marks."""
    with style.context():
        scale = ScalarMappable(norm, mpl.colormaps[COLORS])
        looks: dict[str, Any] = {
            "label": "Cohen's kappa",
            "location": "bottom",
            "aspect": 40,
            "pad": 0.02,
            "shrink": 0.8,
        }
        solids: Any = figure.colorbar(scale, ax=figure.axes, **looks).solids
        solids.set(rasterized=False, edgecolor="face")  # else it is the one raster image of a vector file
        figure.set_figheight(figure.get_figheight() + 0.5)
        keys = layout.undertrained_key(cells, dagger=True)
        for key in keys:
            key.set_label(f"{key.get_label()} pairs")
    said = "mean over pairs of trials; below the diagonal: same seed; diagonal: different seeds of one method"
    layout.add_legend(figure, keys, said, form)
