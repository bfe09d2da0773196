"""Samples lost and gained against dense over sparsity, with the noise floor of two dense seeds.

A lost test image is classified correctly by dense and wrongly by the method with the same seed; a gained one is the
reverse. Each pair of panels is one comparison. A marker is the mean over seeds, its bar one sample standard deviation
to each side, or the mean's 95 % interval. Markers of several methods at one sparsity stand side by side. The dotted
line is the noise floor: the share that one dense network loses against another with a different seed. A method on this
line changes no more predictions than a new seed does, whatever its mean accuracy. A ring marks a point with
under-trained networks. More than ten methods are drawn by family.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.accuracy_vs_sparsity import dodge
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, table_of_test
from sparsweep.analysis.groups import ARM_KEYS, METHOD_KEYS
from sparsweep.analysis.outcomes.flips import flips

_HEIGHT = 2.2  # inches of a panel
_FLOOR: dict[str, Any] = {"color": style.MUTED, "linestyle": ":", "linewidth": 1.3}
_SHARES = ("lost", "gained")


def table(trials: pd.DataFrame, outcomes: Outcomes) -> pd.DataFrame:
    """Return one row per sparse arm: ``n`` pairs, ``lost_percent`` and ``gained_percent`` (means over seeds).

    Each also with ``_std`` (ddof=1, NaN if n = 1) and ``_interval`` (half of the mean's 95 % interval).
    ``floor_percent``: the share lost between two dense seeds; NaN with one. ``lost_above_floor_points`` and
    ``gained_above_floor_points``: minus the floor. ``undertrained``: pairs with an under-trained trial.

    Raises:
        ValueError: No trial has per-sample outcomes, or no sparse trial has a dense partner.
    """
    found = table_of_test(flips, trials, outcomes)
    names = {f"{share}{end}": f"{share}_percent{end}" for share in _SHARES for end in ("", "_std", "_interval")}
    names |= {f"{share}_above_floor": f"{share}_above_floor_points" for share in _SHARES} | {"floor": "floor_percent"}
    scaled = found.assign(**{name: 100 * found[name] for name in names}).rename(columns=names)
    return scaled[[*ARM_KEYS, "n", "undertrained", *names.values()]]


def draw(trials: pd.DataFrame, outcomes: Outcomes, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, outcomes)

    def paint(name: str) -> layout.Paint:
        return lambda axes, panel, methods: _paint(axes, panel, methods, f"{name}_percent", form)

    size, below = (layout.PANEL[0], _HEIGHT), ("images gained (%)", paint("gained"))
    figure = layout.panels(
        points, ["data_ratio"], paint("lost"), "sparsity", "images lost (%)", size, form, below=below
    )
    said = [f"mean ± {form.said}"] if (points["n"] > 1).any() else []
    with style.context():
        floor = [Line2D([], [], label="between two dense seeds", **_FLOOR)]
    more = [*(floor if points["floor_percent"].notna().any() else []), *layout.undertrained_key(points)]
    layout.legend(figure, labels.methods(points), "; ".join(said) or None, more=more, form=form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, name: str, form: Form) -> None:
    floor = float(panel["floor_percent"].iloc[0])
    if np.isfinite(floor):
        axes.axhline(floor, zorder=1.5, **_FLOOR)
    positions = np.sort(panel["sparsity"].unique())
    own = set(panel[list(METHOD_KEYS)].itertuples(index=False, name=None))
    shifts = dodge(positions, [key for key in methods if key in own])
    for key, points in panel.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        at = points["sparsity"] + shifts[key]
        spread = form.half(points, name).to_numpy() if (points["n"] > 1).any() else None
        looks = style.line(str(key[0]), variant)
        axes.errorbar(
            at.to_numpy(), points[name].to_numpy(), yerr=spread, label=label, elinewidth=0.8, capsize=2, **looks
        )
        marks.ring_undertrained(axes, at, points[name], points["undertrained"])
    if len(positions) <= 4:
        axes.set_xticks(positions, [f"{position:.4g}" for position in positions])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if len(positions) == 1:
        axes.set_xlim(positions[0] - 0.1, positions[0] + 0.1)
    axes.margins(y=0.08)
    axes.grid(axis="x", visible=False)
    if name == "lost_percent":
        marks.note(axes, marks.spread_note(panel["n"]))
