"""Whether networks with denser shallow layers learn better: section 4.2 of the paper as a regression.

Xiao et al., BMVC 2024, section 4.2, argue from layer densities that early layers should stay dense. Here each method at
one sparsity is a point. Its x is the depth contrast: mean density of the first third of the convolutions (of all layers
if there are none) minus that of the last third, averaged over seeds. Its y is the paired difference to dense in
percentage points. The line is a least-squares fit over three methods or more, with the 95 % Student interval of its
slope. Points are methods, not seeds: seeds of one method share its densities and are no independent evidence. Methods
differ in more than density, so a slope is an association and no proof.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    COMPARISON_KEYS,
    DENSE,
    METHOD_KEYS,
    at_nearest_sparsity,
    paired_differences,
    replicates,
)
from sparsweep.analysis.metrics import shallow_minus_deep_density
from sparsweep.analysis.stats import Slope, regression

PANEL_KEYS = ("data_ratio", "at_sparsity")
_NARROWEST = 0.02
"""Smallest range of contrasts on an axis, around its middle."""


def table(trials: pd.DataFrame, layers: pd.DataFrame, sparsity: float = 0.8) -> pd.DataFrame:
    """Return one row per method: the arm, ``n`` pairs, ``contrast`` in [-1, 1], ``difference_points``.

    ``low_points``, ``high_points``: 95 % interval of the difference. ``slope``, ``slope_low``, ``slope_high``: of its
    panel, in points per unit of contrast; NaN without a fit.

    Raises:
        ValueError: No method has both a dense partner and two layers.
    """
    chosen = at_nearest_sparsity(replicates(trials), sparsity)
    contrast = shallow_minus_deep_density(layers).rename("contrast")
    sparse = chosen[chosen["sparsifier"] != DENSE].merge(contrast, on="trial")
    densities = sparse.groupby(list(ARM_KEYS), dropna=False)["contrast"].mean().dropna().reset_index()
    differences = paired_differences(chosen)
    points = densities.merge(differences, on=list(ARM_KEYS))
    if points.empty:
        raise ValueError("no finished method has both layers to compare and a dense partner")
    names = {"mean": "difference_points", "low": "low_points", "high": "high_points"}
    points = points.assign(**{new: 100 * points[old] for old, new in names.items()})
    points = points.assign(at_sparsity=points["sparsity"])
    points = points[[*ARM_KEYS, "at_sparsity", "n", "undertrained", "contrast", *names.values()]].sort_values(
        list(ARM_KEYS), ignore_index=True
    )
    lines = [panel.assign(**_numbers(slope(panel))) for _, panel in points.groupby(list(COMPARISON_KEYS), dropna=False)]
    return pd.concat(lines).sort_index()


def slope(panel: pd.DataFrame) -> Slope | None:
    """Return points of accuracy per unit of contrast in one panel. None below three methods or without variation."""
    if len(panel) < 3:
        return None
    return regression(panel["contrast"].to_numpy(dtype=float), panel["difference_points"].to_numpy(dtype=float))


def _numbers(line: Slope | None) -> dict[str, float]:
    found = (math.nan,) * 3 if line is None else (line.slope, line.low, line.high)
    return dict(zip(("slope", "slope_low", "slope_high"), found, strict=True))


def draw(trials: pd.DataFrame, layers: pd.DataFrame, sparsity: float = 0.8, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, layers, sparsity)
    size = (4.2, 2.9 if len(points[list(METHOD_KEYS)].drop_duplicates()) <= layout.CROWD else 4.2)
    by, ylabel = PANEL_KEYS, "accuracy minus dense (points)"
    # In one panel, however many: the line is through all of them.
    figure = layout.panels(
        points, by, _paint, "density of shallow minus deep layers", ylabel, size, form, families=False
    )
    spread = "mean paired difference with 95 % interval" if (points["n"] > 1).any() else None
    layout.legend(figure, labels.methods(points), spread, style.point, layout.undertrained_key(points), form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    axes.axhline(0, **style.line(DENSE))
    shown = []
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        point, looks = points.iloc[0], style.point(str(key[0]), variant)
        x, y = point["contrast"], point["difference_points"]
        spread = [[y - point["low_points"]], [point["high_points"] - y]] if point["n"] > 1 else None
        axes.errorbar(x, y, yerr=spread, label=label, elinewidth=0.8, capsize=2, **looks)
        marks.ring_undertrained(axes, [x], [y], [point["undertrained"]])
        shown.append(marks.Point(x, y, point["n"], looks["color"]))
    line = slope(panel)
    if line is not None:
        ends = np.array([panel["contrast"].min(), panel["contrast"].max()])
        axes.plot(ends, line.intercept + line.slope * ends, color=style.MUTED, linewidth=1, zorder=1)
    if np.ptp(panel["contrast"]) < _NARROWEST:
        middle = float(panel["contrast"].mean())
        axes.set_xlim(middle - _NARROWEST, middle + _NARROWEST)  # else the axis shows rounding
    axes.xaxis.set_major_locator(MaxNLocator(4))
    marks.remark(axes, said(line, len(panel)))
    marks.count_seeds(axes, shown)


def said(line: Slope | None, methods: int) -> str:
    """Return a sentence about the slope and the number of methods."""
    if line is None:
        return "no slope: fewer than three methods" if methods < 3 else "no slope: methods of one contrast"
    interval = f"[{line.low / 10:+.2f}, {line.high / 10:+.2f}]"
    return f"{line.slope / 10:+.2f} {interval} points per 0.1 ({line.n} methods)".replace("-", "−")
