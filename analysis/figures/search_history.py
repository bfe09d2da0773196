"""Objective per suggestion of a search, in the order of the suggestions.

Each panel is one objective of one search. A marker is a finished suggestion, and the line is the best so far. Ticks at
the foot are suggestions without a value: stopped early, failed, or not finished.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsweep.analysis import searches as studies
from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form

_PANEL = (3.6, 2.6)
_VALUE: dict[str, Any] = {"color": "#0072B2", "marker": "o", "markersize": 3.5, "linestyle": "none", "alpha": 0.8}
_BEST: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.3}
_NONE: dict[str, Any] = {"color": style.MUTED, "marker": "|", "markersize": 6, "linestyle": "none"}


def table(searches: studies.Searches) -> pd.DataFrame:
    """Return one row per suggestion and objective (``analysis.searches.HISTORY``).

    Raises ValueError if none finished.
    """
    found = studies.history(searches)
    if not found["value"].notna().any():
        raise ValueError("no finished suggestion of a search: sweeps with search have a history")
    return found


def draw(searches: studies.Searches, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    rows = table(searches)
    panels = [panel for _, panel in rows.groupby(["sweep", "objective"])]
    with style.context():
        figure, grid = layout.plain_grid(len(panels), _PANEL, form)
        for axes, panel in zip(grid, panels, strict=True):
            _paint(axes, panel)
        handles = [Line2D([], [], label="finished suggestion", **_VALUE), Line2D([], [], label="best so far", **_BEST)]
        if rows["value"].isna().any():
            handles.append(Line2D([], [], label="without a value", **_NONE))
    layout.add_legend(figure, handles, None, form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame) -> None:
    sweep, objective, direction = (str(panel[name].iloc[0]) for name in ("sweep", "objective", "direction"))
    lost = panel[panel["value"].isna()]
    axes.plot(panel["number"], panel["value"], **_VALUE)
    axes.step(panel["number"], panel["best"], where="post", zorder=1.5, **_BEST)
    axes.plot(lost["number"], [0.02] * len(lost), transform=axes.get_xaxis_transform(), **_NONE)
    axes.set_title(labels.wrap(sweep, marks.breadth(axes), style.RC["axes.titlesize"]), loc="left")
    axes.set_xlabel("suggestion")
    axes.set_ylabel(f"{objective.replace('_', ' ')}\n({direction}d)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(y=0.1)
