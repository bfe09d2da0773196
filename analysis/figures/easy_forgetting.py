"""Accuracy on easy and on hard test images over the share of training data: what training on hard samples costs.

The test images are split into thirds by hardness for dense networks of a reference (see
``analysis.outcomes.forgetting``), which is named below the panels. Each pair of panels is one setting at one sparsity,
the one nearest to ``sparsity`` that was run: above the easiest third of the test images, below the hardest. A marker is
the mean over seeds, its bar one sample standard deviation to each side, or the mean's 95 % interval. Markers of several
methods at one data ratio stand side by side. A ring marks a point with under-trained networks. More than ten methods
are drawn by family, and each panel has its own scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.accuracy_vs_sparsity import dodge
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, in_percent, table_of_test
from sparsweep.analysis.groups import METHOD_KEYS
from sparsweep.analysis.outcomes.forgetting import accuracy_by_third

_HEIGHT = 2.2  # inches of a panel
_SHOWN = ("easiest", "hardest")


def table(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per arm and ``third`` of the test images (easiest, middle, hardest).

    Columns: ``n`` seeds, ``accuracy_percent`` (mean), ``std_percent`` (ddof=1), ``interval_percent`` (half of the
    mean's 95 % interval), ``undertrained``; ``pairs``, ``difference_points``, ``low_points``, ``high_points`` against
    dense with the same seed; ``reference``: training set of the networks that define hardness; ``at_sparsity``.

    Raises:
        ValueError: No trial has per-sample outcomes, or no reference has them for two dense seeds.
    """
    return in_percent(table_of_test(accuracy_by_third, trials, outcomes, sparsity))


def draw(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, outcomes, sparsity)

    def paint(third: str) -> layout.Paint:
        return lambda axes, panel, methods: _paint(axes, panel[panel["third"] == third], methods, form)

    size, (first, second) = (layout.PANEL[0], _HEIGHT), (f"accuracy on the {third} third (%)" for third in _SHOWN)
    figure = layout.panels(
        points, ["at_sparsity"], paint("easiest"), "data ratio", first, size, form, below=(second, paint("hardest"))
    )
    said = [f"mean ± {form.said}"] if (points["n"] > 1).any() else []
    said.append(f"hardness for dense networks trained on: {', '.join(sorted(points['reference'].unique()))}")
    more = layout.undertrained_key(points[points["third"] == "easiest"])
    layout.legend(figure, labels.methods(points), "; ".join(said), _looks, more, form)
    return figure


def _looks(sparsifier: str, variant: int) -> dict[str, Any]:
    """Return the looks of a line with markers, also for dense: a single data ratio is a single marker."""
    return {**style.point(sparsifier, variant), "linestyle": style.line(sparsifier, variant)["linestyle"]}


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    positions = np.sort(panel["data_ratio"].unique())
    own = set(panel[list(METHOD_KEYS)].itertuples(index=False, name=None))
    shifts = dodge(positions, [key for key in methods if key in own])
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        at, accuracy = points["data_ratio"] + shifts[key], points["accuracy_percent"]
        spread = form.half(points).to_numpy() if (points["n"] > 1).any() else None
        looks = _looks(str(key[0]), variant)
        axes.errorbar(at.to_numpy(), accuracy.to_numpy(), spread, label=label, elinewidth=0.8, capsize=2, **looks)
        marks.ring_undertrained(axes, at, accuracy, points["undertrained"])
    if len(positions) <= 4:
        axes.set_xticks(positions, [f"{position:g}" for position in positions])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if len(positions) == 1:
        axes.set_xlim(positions[0] - 0.1, positions[0] + 0.1)
    axes.margins(y=0.08)
    axes.grid(axis="x", visible=False)
    if panel["third"].iloc[0] == _SHOWN[0]:
        marks.note(axes, marks.spread_note(panel["n"]))
