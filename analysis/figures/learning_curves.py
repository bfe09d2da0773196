"""Test accuracy over epochs, one line per method: how fast each learns, and whether it converged.

Each panel is one comparison at one sparsity, the one nearest to ``sparsity`` that was run, with the dense network. A
line is the mean over seeds at the evaluated epochs. Its band is one sample standard deviation to each side, or the
mean's 95 % interval. A ring at the end of a line marks a method with under-trained networks. More than ten methods are
drawn by family, and each panel has its own scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.convergence import is_undertrained
from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    COMPARISON_KEYS,
    DENSE,
    METHOD_KEYS,
    at_nearest_sparsity,
    half_interval,
    replicates,
)

_PANEL = layout.PANEL


def table(trials: pd.DataFrame, epochs: pd.DataFrame, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per method and evaluated epoch: the arm, ``epoch`` (from 1), ``n`` seeds, ``accuracy_percent``.

    ``std_percent``: ddof=1, NaN if n = 1. ``interval_percent``: half of the mean's 95 % interval. ``undertrained``:
    number of under-trained seeds. ``at_sparsity``: sparsity of the panel.

    Raises:
        ValueError: No finished trial was evaluated twice.
    """
    chosen = at_nearest_sparsity(replicates(trials), sparsity)
    known = epochs.loc[epochs["test_accuracy"].notna(), ["trial", "epoch", "test_accuracy"]]
    joined = chosen[["trial", *ARM_KEYS]].assign(short=is_undertrained(chosen)).merge(known, on="trial")
    if joined["epoch"].nunique() < 2:
        raise ValueError("no finished trial was evaluated at two epochs or more")
    groups = joined.groupby([*ARM_KEYS, "epoch"], dropna=False)
    accuracy = 100 * groups["test_accuracy"].agg(mean="mean", std="std")
    counts = groups.agg(n=("test_accuracy", "count"), undertrained=("short", "sum"))
    found = counts.assign(accuracy_percent=accuracy["mean"], std_percent=accuracy["std"])
    found = found.assign(interval_percent=half_interval(found["std_percent"], found["n"])).reset_index()
    at = found.groupby(list(COMPARISON_KEYS), dropna=False)["sparsity"].transform("max")
    return found.assign(at_sparsity=at).sort_values([*ARM_KEYS, "epoch"], ignore_index=True)


def draw(trials: pd.DataFrame, epochs: pd.DataFrame, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, epochs, sparsity)

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        _paint(axes, panel, methods, form)

    by = ["data_ratio", "at_sparsity"]
    figure = layout.panels(points, by, paint, "epoch", "test accuracy (%)", _PANEL, form)
    spread = f"mean, band ± {form.said}" if (points["n"] > 1).any() else None
    ends = points.groupby(list(ARM_KEYS), dropna=False).tail(1)
    layout.legend(figure, labels.methods(points), spread, _line, layout.undertrained_key(ends), form)
    return figure


def _line(sparsifier: str, variant: int) -> dict[str, Any]:
    """Draw a line without markers, since there are many epochs."""
    return {**style.line(sparsifier, variant), "marker": ""}


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        looks = _line(str(key[0]), variant)
        for _, course in points.groupby("sparsity"):  # dense, and the one sparsity of the panel
            x, y = course["epoch"].to_numpy(), course["accuracy_percent"].to_numpy()
            axes.plot(x, y, label=label, zorder=2.2 if key[0] == DENSE else 2, **looks)
            half = form.half(course).to_numpy()
            if np.isfinite(half).any():
                axes.fill_between(x, y - half, y + half, color=looks["color"], alpha=0.12, linewidth=0)
            last = course.iloc[-1]
            marks.ring_undertrained(axes, x[-1:], y[-1:], [last["undertrained"]])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    marks.note(axes, marks.spread_note(panel["n"]))
    axes.grid(axis="x", visible=False)
