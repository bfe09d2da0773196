"""Accuracy under attack against accuracy on clean images, a marker a method: the form of Figures 6 and 10 of the paper.

Xiao et al., BMVC 2024 (there: PGD-20 after adversarial training, sparsity .9 and .8). Each panel is one comparison at
one sparsity, the one nearest to ``sparsity`` that was run in it. A marker is the mean over seeds, its bars one
sample standard deviation to each side; the dashed lines are the dense network, their bands one standard deviation. A
method in the upper right quarter is better at both. A ring marks under-trained networks. A method that was run in the
setting, but not here, is named.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import ARM, DENSE, METHOD, complete_methods, near_sparsity, replicates, summarise
from analysis.figures import accuracy_vs_sparsity, labels, layout, style

_PANEL = (3.7, 2.9)
_PLACES = {"clean": "clean_accuracy", "robust": "robust_accuracy"}


def table(trials: pd.DataFrame, sparsity: float = 0.9) -> pd.DataFrame:
    """A row a marker: the arm, ``n`` seeds, and mean and standard deviation (ddof=1) of both accuracies in percent.

    Columns ``clean_percent``, ``clean_std``, ``robust_percent``, ``robust_std``. Missing methods have ``n`` = 0.
    ValueError where no trial was judged under attack.
    """
    both = replicates(trials[trials["clean_accuracy"].notna()], "robust_accuracy")
    if both.empty:
        raise ValueError("no finished trial was judged under attack: robust_accuracy is nowhere known")
    chosen = near_sparsity(both, sparsity)
    found = summarise(chosen, "clean_accuracy")[[*ARM, "n", "undertrained"]]
    for name, column in _PLACES.items():
        one = summarise(chosen, column)
        one = one.assign(**{f"{name}_percent": 100 * one["mean"], f"{name}_std": 100 * one["std"]})
        found = found.merge(one.drop(columns=["n", "mean", "std", "undertrained"]), on=list(ARM))
    points = complete_methods(found, both)
    return points.sort_values(list(ARM), ignore_index=True)


def draw(trials: pd.DataFrame, sparsity: float = 0.9) -> Figure:
    """The picture of :func:`table`, drawn without global state."""
    points = table(trials, sparsity)
    xlabel, ylabel = "clean accuracy (%)", "accuracy under attack (%)"
    figure = layout.panels(points, ["data_ratio", "at_sparsity"], _paint, xlabel, ylabel, _PANEL)
    spread = "mean ± standard deviation over seeds" if (points["n"] > 1).any() else None
    layout.legend(figure, labels.methods(points), spread, style.point, layout.undertrained_key(points))
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    missing, shown = [], []
    for key, points in panel.groupby(list(METHOD)):
        label, variant = methods[key]
        point = points.iloc[0]
        if point["n"] == 0:
            missing.append(label)
            continue
        if key[0] == DENSE:
            accuracy_vs_sparsity.level(axes, points, "robust_percent", "robust_std")
            _upright(axes, float(point["clean_percent"]), float(point["clean_std"]))
        spread = {"xerr": point["clean_std"], "yerr": point["robust_std"]} if point["n"] > 1 else {}
        looks = style.point(str(key[0]), variant)
        x, y = point["clean_percent"], point["robust_percent"]
        axes.errorbar(x, y, label=label, elinewidth=0.8, capsize=2, **spread, **looks)
        shown.append(layout.Point(x, y, point["n"], looks["color"]))
        layout.ring_undertrained(axes, [x], [y], [point["undertrained"]])
    layout.count_seeds(axes, shown)
    remarks = [] if (panel["sparsifier"] == DENSE).any() else ["no dense trials"]
    if missing:
        remarks.append(labels.wrap(f"missing: {', '.join(missing)}", _PANEL[0]))
    if remarks:
        layout.remark(axes, "\n".join(remarks))


def _upright(axes: Axes, place: float, spread: float) -> None:
    looks = style.line(DENSE)
    axes.axvline(place, zorder=1.5, **looks)
    if not math.isnan(spread):
        axes.axvspan(place - spread, place + spread, color=looks["color"], alpha=0.12, linewidth=0, zorder=0.5)
