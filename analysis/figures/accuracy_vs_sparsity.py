"""Test accuracy over sparsity, one line per method and one panel per data ratio: the form of Figures 2, 4, 5 and 9.

Xiao et al., BMVC 2024. Each panel is one comparison: the same data set, network, difficulty, data ratio and recipe. A
marker is the mean over seeds. Its bar is one sample standard deviation to each side, or the mean's 95 % interval.
Markers of several methods at one sparsity stand side by side. With a single sparsity, the axis shows the methods. The
dashed line is the dense network, and its band is its bar. A method whose marker lies above the line learns these
samples better than dense. A gap in a line, with a cross of its color at the foot of the panel, is a planned sparsity
that is not finished; nothing is drawn across it. A small number beside a marker is its n, if it differs from most. A
ring marks a point with under-trained networks; for dense it is at the right end of the line. More than ten methods are
drawn by family, and each panel has its own scale. The spread is over seeds and unpaired: ``ratio_heatmap`` tests the
differences to dense.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    COMPARISON_KEYS,
    DENSE,
    METHOD_KEYS,
    fill_grid,
    grid,
    replicates,
    summarise,
)

_MISSING: dict[str, Any] = {"marker": "x", "markersize": 4, "linestyle": "none"}
_FOOT = 0.02  # of a panel's height
_DODGE, _WIDEST_DODGE = 0.08, 0.6  # between two methods and between the outermost, in distances of positions
_TICK, _LONGEST = 0.3, 5  # inches that the label of a tick takes, and its letters
_SIDE_BY_SIDE = "methods of one sparsity side by side"


def table(trials: pd.DataFrame, asked: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per point: the arm, ``n`` seeds, ``accuracy_percent`` (mean) and ``std_percent`` (ddof=1).

    ``interval_percent``: half the width of the mean's 95 % interval. ``undertrained``: number of under-trained seeds.
    Missing points have ``n`` = 0: those in ``asked`` (ARM_KEYS), or else those of the grid of ``trials``.

    Raises:
        ValueError: No trial has finished.
    """
    known = replicates(trials)
    if known.empty:
        raise ValueError("there is no finished trial to draw")
    summary = summarise(known)
    dense, sparse = summary[summary["sparsifier"] == DENSE], summary[summary["sparsifier"] != DENSE]
    wanted = trials if asked is None else asked
    wanted = wanted[wanted["sparsifier"] != DENSE]
    points = fill_grid(sparse, grid(wanted) if asked is None else wanted)
    points = pd.concat([dense, points], ignore_index=True) if len(sparse) else dense
    names = {"accuracy_percent": "mean", "std_percent": "std", "interval_percent": "interval"}
    values = {new: 100 * points[old] for new, old in names.items()}
    return points.assign(**values)[[*ARM_KEYS, "n", *values, "undertrained"]].sort_values(
        list(ARM_KEYS), ignore_index=True
    )


def draw(trials: pd.DataFrame, asked: pd.DataFrame | None = None, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, asked)
    sparse = points[points["sparsifier"] != DENSE]
    single = sparse["sparsity"].nunique() == 1
    xlabel = f"sparsity {sparse['sparsity'].iloc[0]:g}" if single else "sparsity" if len(sparse) else ""

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        (_paint_sparsities if sparse["sparsity"].nunique() > 1 else _paint_methods)(axes, panel, methods, form)

    figure = layout.panels(points, ["data_ratio"], paint, xlabel, "test accuracy (%)", form=form)
    said = [f"mean ± {form.said}"] if (points["n"] > 1).any() else []
    if not single and _shared(sparse):
        said.append(_SIDE_BY_SIDE)
    crosses = [Line2D([], [], color="black", label="missing", **_MISSING)] if (points["n"] == 0).any() else []
    more = [*crosses, *layout.undertrained_key(points)]
    layout.legend(figure, labels.methods(points), "; ".join(said) or None, more=more, form=form)
    return figure


def _paint_dense(axes: Axes, panel: pd.DataFrame, form: Form) -> list[marks.Point]:
    shown = []
    for _, dense in panel[panel["sparsifier"] == DENSE].groupby(list(METHOD_KEYS)):
        draw_dense_line(
            axes, float(dense["accuracy_percent"].iloc[0]), float(form.half(dense).iloc[0]), style.of(DENSE).label
        )
        shown += marks.points([None], dense["accuracy_percent"], dense["n"], style.of(DENSE).color)
        if dense["undertrained"].any():
            axes.plot(1, dense["accuracy_percent"], transform=axes.get_yaxis_transform(), **style.UNDERTRAINED)
    return shown


def _paint_sparsities(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    """Draw lines over sparsity."""
    shown = _paint_dense(axes, panel, form)
    sparse = panel[panel["sparsifier"] != DENSE].sort_values("sparsity")
    positions = np.sort(sparse["sparsity"].unique())
    own = dict.fromkeys(sparse[list(METHOD_KEYS)].itertuples(index=False, name=None))
    order = [key for key in methods if key in own]
    shared = _shared(sparse)
    shifts = dodge(positions, order) if shared else dict.fromkeys(order, 0.0)
    for key, points in sparse.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        looks = {**style.line(str(key[0]), variant), "label": label}
        if len(order) > 1 and not shared:
            looks["linestyle"] = "none"  # a search: its points are no curves
        at = points["sparsity"] + shifts[key]
        _add_line(axes, at, points, looks, form)
        shown += marks.points(at, points["accuracy_percent"], points["n"], looks["color"])
        marks.ring_undertrained(axes, at, points["accuracy_percent"], points["undertrained"])
    if len(positions) * _TICK < marks.breadth(axes) and all(len(f"{position:g}") <= _LONGEST for position in positions):
        axes.set_xticks(positions, _tick_labels(positions, marks.breadth(axes)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if len(positions) == 1:
        axes.set_xlim(positions[0] - 0.1, positions[0] + 0.1)
    axes.grid(axis="x", visible=False)
    _finish(axes, panel, shown)


def _paint_methods(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    """Draw markers of one sparsity side by side, each above its method's name."""
    shown = _paint_dense(axes, panel, form)
    found = {key: points for key, points in panel.groupby(list(METHOD_KEYS)) if key[0] != DENSE}
    order = [key for key in methods if key in found]
    for position, key in enumerate(order):
        points = found[key]
        looks = {**style.point(str(key[0]), methods[key][1]), "label": "_"}
        at = pd.Series(float(position), index=points.index)
        _add_line(axes, at, points, looks, form)
        shown += marks.points(at, points["accuracy_percent"], points["n"], looks["color"])
        marks.ring_undertrained(axes, at, points["accuracy_percent"], points["undertrained"])
    layout.name_places(axes, [methods[key][0] for key in order], marks.breadth(axes))
    axes.grid(axis="x", visible=False)
    _finish(axes, panel, shown)


def _finish(axes: Axes, panel: pd.DataFrame, shown: list[marks.Point]) -> None:
    axes.margins(y=0.08)
    marks.count_seeds(axes, shown)
    if not (panel["sparsifier"] == DENSE).any():
        marks.remark(axes, "no dense trials")


def _shared(sparse: pd.DataFrame) -> bool:
    """Return whether two methods have a point at one sparsity of one comparison."""
    there = sparse[sparse["n"] > 0]
    return bool(there.duplicated([*COMPARISON_KEYS, "sparsity"]).any())


def _tick_labels(positions: np.ndarray, width: float) -> list[str]:
    """Return the sparsities as texts, empty where one would overlap the previous. ``width``: of the axis in inches."""
    span = float(positions[-1] - positions[0]) if len(positions) else 0.0
    space, last, found = _TICK * span / width, -np.inf, []
    for position in positions:
        fits = position - last >= space
        found.append(f"{position:g}" if fits else "")
        last = position if fits else last
    return found


def _add_line(axes: Axes, positions: pd.Series, points: pd.DataFrame, looks: dict[str, Any], form: Form) -> None:
    """Draw one method: markers with bars, a gap for each missing value, and a cross at the foot below it."""
    there = points["n"] > 0
    if there.any():
        spread = form.half(points).to_numpy() if (points["n"] > 1).any() else None
        mean = points["accuracy_percent"].to_numpy()
        axes.errorbar(positions.to_numpy(), mean, yerr=spread, elinewidth=0.8, capsize=2, **looks)
    feet = np.full(np.count_nonzero(~there), _FOOT)
    axes.plot(positions[~there], feet, transform=axes.get_xaxis_transform(), color=looks["color"], **_MISSING)


def draw_dense_line(axes: Axes, height: float, half: float, label: str | None = None) -> None:
    """Draw the dense network as a line at ``height``, with a band of ``half`` (NaN: none) to each side."""
    looks = style.line(DENSE)
    axes.axhline(height, zorder=1.5, label=label, **looks)
    if not math.isnan(half):
        axes.axhspan(height - half, height + half, color=looks["color"], alpha=0.12, linewidth=0, zorder=0.5)


def dodge(grid: np.ndarray, methods: list[labels.Key]) -> dict[labels.Key, float]:
    """Return the offset of each method's markers from the positions in ``grid`` (ascending)."""
    between = float(np.diff(grid).min()) if len(grid) > 1 else 0.1
    step = between * min(_DODGE, _WIDEST_DODGE / max(len(methods) - 1, 1))
    return {key: step * (position - (len(methods) - 1) / 2) for position, key in enumerate(methods)}
