"""Difference to dense per class, sorted: whether pruning hurts some classes more than the mean.

Each panel is one comparison at one sparsity, the one nearest to ``sparsity`` that was run. A line goes through the
classes of one method from the largest loss to the largest gain, so classes stand in another order for each method. Its
height is the mean over seeds of the accuracy on the class minus that of dense with the same seed, in percentage points.
The marker on a line is the worst class: the one of the lowest accuracy of that method. With few test images per class,
chance alone spreads the differences: the range of a line is no evidence by itself. A ring at the end of a line marks a
method with under-trained networks. More than ten methods are drawn by family.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, in_percent, table_of_test
from sparsweep.analysis.groups import ARM_KEYS, DENSE, METHOD_KEYS
from sparsweep.analysis.outcomes import classes


def table(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per sparse method and class: the arm, ``label``, ``n`` seeds, ``accuracy_percent``.

    ``std_percent``: ddof=1. ``pairs``, ``difference_points`` with its 95 % interval ``low_points``, ``high_points``:
    against dense with the same seed. ``rank``: of the difference, from 1 (largest loss). ``worst``: whether the
    method's accuracy is lowest on this class, of equal ones the smallest label. ``undertrained``: number of seeds.

    Raises:
        ValueError: No trial has per-sample outcomes, or no sparse trial has a dense partner.
    """
    found = in_percent(table_of_test(classes.class_accuracy, trials, outcomes, sparsity))
    found = found[(found["sparsifier"] != DENSE) & (found["pairs"] > 0)]
    if found.empty:
        raise ValueError("no sparse trial with per-sample outcomes has a dense partner of the same seed and comparison")
    order = found.sort_values([*ARM_KEYS, "difference_points", "label"], ignore_index=True)
    arms = order.groupby(list(ARM_KEYS), dropna=False)
    lowest = order.sort_values(["accuracy_percent", "label"]).drop_duplicates(list(ARM_KEYS)).index
    return order.assign(rank=arms.cumcount() + 1, worst=order.index.isin(lowest))


def draw(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, outcomes, sparsity)
    by, xlabel = ["data_ratio", "at_sparsity"], "rank of the class by difference"
    figure = layout.panels(points, by, _paint, xlabel, "class accuracy minus dense (points)", form=form)
    ends = points.groupby(list(ARM_KEYS), dropna=False).tail(1)
    title = "mean paired difference; marker: class of the lowest accuracy"
    with style.context():
        dense = Line2D([], [], label=style.of(DENSE).label, **style.line(DENSE))
    layout.legend(figure, labels.methods(points), title, more=[dense, *layout.undertrained_key(ends)], form=form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    axes.axhline(0, zorder=1.5, **style.line(DENSE))
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        looks: dict[str, Any] = style.line(str(key[0]), variant)
        x, y = points["rank"].to_numpy(), points["difference_points"].to_numpy()
        axes.plot(x, y, label=label, markevery=points["worst"].to_numpy().nonzero()[0].tolist(), **looks)
        marks.ring_undertrained(axes, x[-1:], y[-1:], points["undertrained"].iloc[-1:])
    axes.margins(y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", visible=False)
    marks.note(axes, marks.spread_note(panel["n"]))
