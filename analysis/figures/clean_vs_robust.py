"""Accuracy under attack over clean accuracy, one marker per method: the form of Figures 6 and 10 of the paper.

Xiao et al., BMVC 2024 (there: PGD-20 after adversarial training, sparsity 0.9 and 0.8). Each panel is one comparison at
one sparsity, the one nearest to ``sparsity`` that was run. A marker is the mean over seeds. Its bars are one sample
standard deviation to each side, or the mean's 95 % interval. The dashed lines are the dense network, and their bands
are its bars. A method in the upper right quarter is better at both. A ring marks under-trained networks. Planned
methods that are not finished at this sparsity are named.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.accuracy_vs_sparsity import draw_dense_line
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    DENSE,
    METHOD_KEYS,
    at_nearest_sparsity,
    fill_methods,
    grid,
    replicates,
    summarise,
)

_PANEL = (3.7, 2.9)
_PLACES = {"clean": "clean_accuracy", "robust": "robust_accuracy"}


def table(trials: pd.DataFrame, sparsity: float = 0.9, asked: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per marker: the arm, ``n`` seeds, mean and standard deviation of both accuracies in percent.

    Columns ``clean_percent``, ``clean_std`` (ddof=1), ``clean_interval`` (half of the mean's 95 % interval), and the
    same for ``robust``. Missing methods, of ``asked`` or of the grid of ``trials``, have ``n`` = 0.

    Raises:
        ValueError: No trial was evaluated under attack.
    """
    both = replicates(trials[trials["clean_accuracy"].notna()], "robust_accuracy")
    if both.empty:
        raise ValueError("no finished trial was evaluated under attack: no value in robust_accuracy")
    chosen = at_nearest_sparsity(both, sparsity)
    found = summarise(chosen, "clean_accuracy")[[*ARM_KEYS, "n", "undertrained"]]
    for name, column in _PLACES.items():
        one = summarise(chosen, column)
        values = {"percent": one["mean"], "std": one["std"], "interval": one["interval"]}
        one = one[list(ARM_KEYS)].assign(**{f"{name}_{end}": 100 * value for end, value in values.items()})
        found = found.merge(one, on=list(ARM_KEYS))
    points = fill_methods(found, grid(both) if asked is None else asked)
    return points.sort_values(list(ARM_KEYS), ignore_index=True)


def draw(
    trials: pd.DataFrame, sparsity: float = 0.9, asked: pd.DataFrame | None = None, form: Form = DEFAULT
) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, sparsity, asked)

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        _paint(axes, panel, methods, form)

    xlabel, ylabel = "clean accuracy (%)", "accuracy under attack (%)"
    figure = layout.panels(points, ["data_ratio", "at_sparsity"], paint, xlabel, ylabel, _PANEL, form)
    spread = f"mean ± {form.said}" if (points["n"] > 1).any() else None
    layout.legend(figure, labels.methods(points), spread, style.point, layout.undertrained_key(points), form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    missing, shown = [], []
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        point = points.iloc[0]
        if point["n"] == 0:
            missing.append(label)
            continue
        across, upright = (float(form.half(points, name).iloc[0]) for name in _PLACES)
        x, y = float(point["clean_percent"]), float(point["robust_percent"])
        if key[0] == DENSE:
            draw_dense_line(axes, y, upright)
            _upright(axes, x, across)
        spread: dict[str, Any] = {"xerr": across, "yerr": upright} if point["n"] > 1 else {}
        looks = style.point(str(key[0]), variant)
        axes.errorbar(x, y, label=label, elinewidth=0.8, capsize=2, **spread, **looks)
        shown.append(marks.Point(x, y, point["n"], looks["color"]))
        marks.ring_undertrained(axes, [x], [y], [point["undertrained"]])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    marks.count_seeds(axes, shown)
    remarks = [] if (panel["sparsifier"] == DENSE).any() else ["no dense trials"]
    if missing:
        remarks.append(f"missing: {', '.join(dict.fromkeys(missing))}")
    if remarks:
        marks.remark(axes, *remarks)


def _upright(axes: Axes, place: float, spread: float) -> None:
    looks = style.line(DENSE)
    axes.axvline(place, zorder=1.5, **looks)
    if not math.isnan(spread):
        axes.axvspan(place - spread, place + spread, color=looks["color"], alpha=0.12, linewidth=0, zorder=0.5)
