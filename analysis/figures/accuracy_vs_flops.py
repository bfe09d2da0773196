"""Test accuracy over training FLOPs; marker area shows the number of parameters: the form of Figure 8 c/d of the paper.

Xiao et al., BMVC 2024, section 4.3. Each panel is one comparison. Of each method, the ``best`` sparsities by mean test
accuracy are shown. FLOPs include training and the trials that it started from (a dense network for LTH, OMP and
OMP-ERK), but not the scoring of samples, which all methods share. A marker is the mean over seeds. Its bar is one
sample standard deviation to each side, or the mean's 95 % interval. Its area grows with the active parameters. A ring
marks a point with under-trained networks. The gray stairs are the Pareto front of the means: no point shown is more
accurate at the same FLOPs. FLOPs are theoretical (``trainables/training/flops.py``): on a GPU, an unstructured mask
saves no time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import ARM_KEYS, COMPARISON_KEYS, METHOD_KEYS, most_accurate, replicates, summarise
from sparsweep.analysis.metrics import with_total_flops

_AREAS = (14.0, 150.0)  # points squared: no parameters, all of them
_FRONT: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 1.2}
_RING: dict[str, Any] = {"color": style.MUTED, "marker": "o", "markerfacecolor": "none", "linestyle": "none"}
_TICKS = ((4, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)), (12, (1.0, 2.0, 5.0)), (100, (1.0, 3.0)))  # within a decade, by span
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_KEY_SHARES = (0.1, 0.5, 1.0)


def table(trials: pd.DataFrame, best: int = 5) -> pd.DataFrame:
    """Return one row per marker: the arm, ``n`` seeds, and means over seeds.

    ``accuracy_percent`` with ``std_percent`` (ddof=1) and ``interval_percent`` (half of its 95 % interval),
    ``total_flops`` (training and prerequisites), ``nonzero_parameters``, ``parameter_share`` (of dense, in (0, 1]) and
    ``on_front``.

    Raises:
        ValueError: No finished trial has known prerequisite costs.
    """
    known = with_total_flops(replicates(trials))
    known = known[known["total_flops"].notna()]
    if known.empty:
        raise ValueError("no finished trial with the FLOPs of its prerequisites (tables of version 1 do not have them)")
    points = summarise(known)
    for column in ("total_flops", "nonzero_parameters", "parameters"):
        one = summarise(known, column)[[*ARM_KEYS, "mean"]].rename(columns={"mean": column})
        points = points.merge(one, how="left", on=list(ARM_KEYS))
    points = points.merge(most_accurate(known, best), on=list(ARM_KEYS)).assign(
        accuracy_percent=lambda rows: 100 * rows["mean"],
        std_percent=lambda rows: 100 * rows["std"],
        interval_percent=lambda rows: 100 * rows["interval"],
        parameter_share=lambda rows: rows["nonzero_parameters"] / rows["parameters"],
    )
    points = points.assign(on_front=on_front(points)).drop(columns=["mean", "std", "interval", "parameters"])
    return points.sort_values(list(ARM_KEYS), ignore_index=True)


def on_front(points: pd.DataFrame) -> pd.Series:
    """Return whether no other point of the comparison dominates a point in FLOPs and accuracy."""
    order = points.sort_values(["total_flops", "accuracy_percent"], ascending=[True, False])
    reached = order.groupby(list(COMPARISON_KEYS), dropna=False)["accuracy_percent"].transform(
        lambda accuracy: accuracy.cummax().shift(fill_value=-np.inf)
    )
    return (order["accuracy_percent"] > reached).reindex(points.index)


def draw(trials: pd.DataFrame, best: int = 5, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, best)

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        _paint_front(axes, points.merge(panel[list(COMPARISON_KEYS)].drop_duplicates(), on=list(COMPARISON_KEYS)))
        _paint(axes, panel, methods, form)

    xlabel = "training FLOPs, prerequisites included"
    figure = layout.panels(points, ["data_ratio"], paint, xlabel, "test accuracy (%)", (4.2, 3.1), form)
    spread = f", bars ± {form.said}" if (points["n"] > 1).any() else ""
    title = f"the {best} most accurate sparsities of each method{spread}"
    more = [*_keys(), *layout.undertrained_key(points)]
    layout.legend(figure, labels.methods(points), title, style.point, more, form)
    return figure


def _area(share: pd.Series | float) -> pd.Series | float:
    return _AREAS[0] + (_AREAS[1] - _AREAS[0]) * share


def _paint_front(axes: Axes, points: pd.DataFrame) -> None:
    """Draw the front of all ``points`` of a comparison, for any family of methods in the panel."""
    front = points[points["on_front"]].sort_values("total_flops")
    stairs = (
        [*front["total_flops"], points["total_flops"].max()],
        [*front["accuracy_percent"], front["accuracy_percent"].max()],
    )
    axes.step(*stairs, where="post", zorder=1, **_FRONT)


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    shown: list[marks.Point] = []
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        looks = style.point(str(key[0]), variant)
        inside = looks.get("markerfacecolor", looks["color"])
        place = points["total_flops"], points["accuracy_percent"]
        axes.errorbar(*place, yerr=form.half(points), fmt="none", ecolor=looks["color"], elinewidth=0.8, zorder=2)
        faces = {"color": looks["color"]} if looks["marker"] in style.UNFILLED else {"edgecolors": looks["color"]}
        axes.scatter(
            *place,
            s=_area(points["parameter_share"]),
            marker=looks["marker"],
            facecolors=inside,
            alpha=0.85,
            linewidths=1,
            zorder=3,
            label=label,
            **faces,
        )
        shown += marks.points(*place, points["n"], looks["color"])
        marks.ring_undertrained(axes, *place, points["undertrained"])
    axes.set_xscale("log")
    _space_ticks(axes)
    marks.count_seeds(axes, shown, offset=(math.sqrt(sum(_AREAS)) / 2, 4))  # beside the largest marker


def _space_ticks(axes: Axes) -> None:
    """Set as many ticks on a logarithmic axis as there is room for labels."""
    low, high = axes.get_xlim()
    within = next((digits for span, digits in _TICKS if high / low < span), (1.0,))
    axes.xaxis.set_major_locator(LogLocator(subs=within))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=7)


def power(value: float) -> str:
    """Return ``2·10¹⁶``."""
    exponent = math.floor(math.log10(value) + 1e-9)
    digits = value / 10**exponent
    tens = f"10{str(exponent).translate(_RAISED)}"
    return tens if math.isclose(digits, 1) else f"{digits:g}·{tens}"


def _keys() -> list[Line2D]:
    """Return legend entries for areas and stairs."""
    rings = [
        Line2D([], [], label=f"{100 * share:.0f} % of the parameters", markersize=float(np.sqrt(_area(share))), **_RING)
        for share in _KEY_SHARES
    ]
    return [*rings, Line2D([], [], label="Pareto front", **_FRONT)]
