"""Importance of a search's parameters for each objective, by Optuna's evaluator.

Each panel is one objective of one search. A bar is the share of a parameter in what distinguishes good suggestions from
others (PED-ANOVA, Watanabe et al., IJCAI 2023, with Optuna 5). Shares sum to 1. They describe the suggestions made,
which a sampler draws near its optimum, not the whole space. The number of suggestions stands above.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsweep.analysis import searches as studies
from sparsweep.analysis.figures import fonts, labels, layout, marks, style
from sparsweep.analysis.figures.form import DEFAULT, Form

_BAR, _FRAME = 0.26, 0.75  # inches


def table(searches: studies.Searches) -> pd.DataFrame:
    """Return one row per parameter and objective (``analysis.searches.IMPORTANCE``). Raises ValueError if unknown."""
    found = studies.importance(searches)
    if found.empty:
        raise ValueError("no search with two finished suggestions of different values")
    return found


def draw(searches: studies.Searches, form: Form = DEFAULT) -> Figure:
    """Draw :func:`table`, without global state."""
    rows = table(searches)
    panels = [panel for _, panel in rows.groupby(["sweep", "objective"])]
    most = max(len(panel) for panel in panels)
    with style.context():
        figure, grid = layout.plain_grid(len(panels), (4.2, most * _BAR + _FRAME), form)
        for axes, panel in zip(grid, panels, strict=True):
            _paint(axes, panel)
        fonts.fit(figure)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame) -> None:
    sweep, objective, count = panel[["sweep", "objective", "suggestions"]].iloc[0]
    positions = range(len(panel))
    axes.barh(positions, panel["importance"], 0.7, color="#0072B2")
    space = 0.45 * marks.breadth(axes)
    names = [labels.wrap(name, space, 8) for name in panel["parameter"]]
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    for position, share in zip(positions, panel["importance"], strict=True):
        text = f"{100 * share:.0f} %"
        axes.annotate(text, (share, position), (3, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_xlim(0, 1.12 * float(panel["importance"].max()))
    head = [f"{sweep}: {objective.replace('_', ' ')}", f"{count} suggestions"]
    axes.set_title("\n".join(labels.wrap(line, marks.breadth(axes), 9) for line in head), loc="left", fontsize=9)
    axes.set_xlabel("importance")
    axes.grid(axis="y", visible=False)
