"""Accuracy by hardness of the test images, and the difference to dense: where sparse networks gain or lose.

Each pair of panels is one comparison at one sparsity, the one nearest to ``sparsity`` that was run. The test images are
split into tenths by hardness: 1 minus the mean probability that dense networks with other seeds give the label. So no
network is scored by a hardness that it helped to define. Above: a line is the mean accuracy over seeds, its band one
sample standard deviation to each side, or the mean's 95 % interval. Below: the mean difference to dense with the same
seed, its band the 95 % Student interval of that mean; a band can be cut off at the edge of the panel. A ring at the end
of a line marks a method with under-trained networks. More than ten methods are drawn by family.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, in_percent, table_of_test
from sparsweep.analysis.groups import ARM_KEYS, DENSE, METHOD_KEYS
from sparsweep.analysis.outcomes.hardness import accuracy_by_decile, dense_hardness
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix

_HEIGHT = 2.2  # inches of a panel
_ROOM = 0.6  # above and below the differences, in their range


def table(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per method and decile: the arm, ``decile`` (1: easiest), ``n`` seeds, ``accuracy_percent``.

    ``std_percent``: ddof=1, NaN if n = 1. ``interval_percent``: half of the mean's 95 % interval. ``undertrained``:
    number of under-trained seeds. ``pairs``, ``difference_points`` with its 95 % interval ``low_points``,
    ``high_points``: against dense with the same seed. ``at_sparsity``: sparsity of the panel.

    Raises:
        ValueError: No trial has per-sample outcomes, or no comparison has them for two dense seeds.
    """
    return in_percent(table_of_test(_by_decile, trials, outcomes, sparsity))


def _by_decile(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    return accuracy_by_decile(matrix, trials, dense_hardness(matrix, trials))


def draw(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, outcomes, sparsity)

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        _paint_accuracy(axes, panel, methods, form)

    size, below = (layout.PANEL[0], _HEIGHT), ("difference to dense (points)", _paint_difference)
    xlabel, ylabel = "decile of hardness (10: hardest)", "test accuracy (%)"
    figure = layout.panels(points, ["data_ratio", "at_sparsity"], paint, xlabel, ylabel, size, form, below=below)
    said = [f"above: mean ± {form.said}"] if (points["n"] > 1).any() else []
    if (points["pairs"] > 1).any():
        said.append("below: mean paired difference with its 95 % interval")
    more = layout.undertrained_key(points.groupby(list(ARM_KEYS), dropna=False).tail(1))
    layout.legend(figure, labels.methods(points), "; ".join(said) or None, more=more, form=form)
    return figure


def _paint_accuracy(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    for key, points in panel.groupby(list(METHOD_KEYS)):
        half = form.half(points)
        mean = points["accuracy_percent"]
        _add_line(axes, points, "accuracy_percent", mean - half, mean + half, methods[key], str(key[0]))
    marks.note(axes, marks.spread_note(panel["n"]))


def _paint_difference(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    axes.axhline(0, zorder=1.5, **style.line(DENSE))
    known = panel[panel["pairs"] > 0]
    for key, points in known.groupby(list(METHOD_KEYS)):
        low, high = points["low_points"], points["high_points"]
        _add_line(axes, points, "difference_points", low, high, methods[key], str(key[0]))
    if known.empty:
        marks.remark(axes, "no pairs with dense")
        return
    ends = np.array([0.0, known["difference_points"].min(), known["difference_points"].max()])
    room = _ROOM * (float(np.ptp(ends)) or 1.0)
    axes.set_ylim(float(ends.min()) - room, float(ends.max()) + room)


def _add_line(
    axes: Axes,
    points: pd.DataFrame,
    name: str,
    low: pd.Series,
    high: pd.Series,
    method: tuple[str, int],
    sparsifier: str,
) -> None:
    """Draw the column ``name`` of one method over deciles, with a band from ``low`` to ``high``."""
    looks: dict[str, Any] = style.line(sparsifier, method[1])
    x, y = points["decile"].to_numpy(), points[name].to_numpy()
    axes.plot(x, y, label=method[0], zorder=2.2 if sparsifier == DENSE else 2, **looks)
    if np.isfinite(low).any():
        axes.fill_between(x, low.to_numpy(), high.to_numpy(), color=looks["color"], alpha=0.12, linewidth=0)
    marks.ring_undertrained(axes, x[-1:], y[-1:], points["undertrained"].iloc[-1:])
    axes.set_xticks(range(1, 11))
    axes.grid(axis="x", visible=False)
