"""What figures of several panels share: their grid, their titles, and one legend beneath them.

A panel is one comparison: a setting (data set, network, difficulty, recipe) and a data ratio, and where a figure goes
through no sparsities, the sparsity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import labels, style
from analysis.titles import setting_titles

PANEL = (3.3, 2.7)
"""Width and height of a panel in inches."""

_LEGEND_ENTRY, _LEGEND_LINE = 1.25, 0.168  # inches
_MOST_COLUMNS = 3  # wider figures have unreadable text once they stand on a page
_CROWD, _ROOM = 10, 1.5  # more methods than these need panels that are larger by this factor
_WIDEST = _MOST_COLUMNS * PANEL[0]
_RIGHT_END = ("axes fraction", "data")
_WORDS = {"data_ratio": "data ratio", "at_sparsity": "sparsity"}

Methods = dict[labels.Key, tuple[str, int]]
Paint = Callable[[Axes, pd.DataFrame, Methods], None]


def panels(
    points: pd.DataFrame,
    by: Sequence[str],
    paint: Paint,
    xlabel: str,
    ylabel: str,
    size: tuple[float, float] = PANEL,
) -> Figure:
    """A figure with a panel for each setting and value of the columns ``by`` of ``points``; ``paint`` fills one.

    ``size``: of a panel, in inches. Drawn without global state; the caller adds the legend.
    """
    titles, methods = setting_titles(points), labels.methods(points)
    if len(methods) > _CROWD:
        size = (max(size[0], min(_ROOM * size[0], _WIDEST)), _ROOM * size[1])
    found = [panel for _, panel in points.groupby([titles, *by])]
    columns, rows = _grid(len(found), points[by[0]].nunique(), max(1, int(_WIDEST / size[0])))
    width = max(columns * size[0], 4 * _LEGEND_ENTRY)
    with style.context():
        figure = Figure(figsize=(width, rows * size[1] + 0.3), layout="constrained")
        for number, panel in enumerate(found):
            axes = figure.add_subplot(rows, columns, number + 1)
            head = ", ".join(f"{_WORDS[name]} {panel[name].iloc[0]:g}" for name in by)
            title = labels.wrap(titles[panel.index[0]], size[0] - 0.4)
            axes.set_title(head if titles.nunique() == 1 else f"{title}\n{head}", loc="left")
            if number % columns == 0:
                axes.set_ylabel(ylabel)
            if number + columns >= len(found):
                axes.set_xlabel(xlabel)
            paint(axes, panel, methods)
        if titles.nunique() == 1:
            figure.suptitle(titles.iloc[0])
    return figure


def _grid(panels: int, values: int, most: int) -> tuple[int, int]:
    """Columns and rows, evenly filled: a row a setting where its panels (one for each value) fit into one."""
    in_line = values if values > 1 else panels
    columns = math.ceil(in_line / math.ceil(in_line / most))
    return columns, math.ceil(panels / columns)


def note(axes: Axes, text: str) -> None:
    """A remark at the upper right of a panel."""
    axes.set_title(text, loc="right", fontsize=8, color=style.MUTED)


@dataclass(frozen=True)
class Point:
    """A point of a panel in data coordinates, ``x`` None for a line across, with ``n`` seeds behind it."""

    x: float | None
    y: float
    n: int
    color: str


def points(x: Iterable[float | None], y: Iterable[float], n: Iterable[int], color: str) -> list[Point]:
    """Points of one colour."""
    return [Point(*place, color) for place in zip(x, y, n, strict=True)]


def count_seeds(axes: Axes, points: Sequence[Point], offset: tuple[float, float] = (3, 2)) -> None:
    """Note how many seeds the points of a panel have, and number those that have another n than most.

    ``offset``: of a number from its point, in typographic points.
    """
    there = [point for point in points if point.n]
    if not there:
        note(axes, "n = 0")
        return
    counts = pd.Series([point.n for point in there])
    note(axes, spread_note(counts, labels.usual_seeds))
    usual = labels.usual(counts)
    for point in there:
        if point.n == usual:
            continue
        across = point.x is None
        axes.annotate(
            str(point.n),
            (1.0 if across else point.x, point.y),
            (-2, 2) if across else offset,
            xycoords=_RIGHT_END if across else "data",
            textcoords="offset points",
            ha="right" if across else "left",
            fontsize=6,
            color=point.color,
            zorder=5,
        )


def spread_note(counts: pd.Series, said: Callable[[pd.Series], str] = labels.seeds) -> str:
    """How many seeds stand behind the points of a panel, in the words of ``said``; one seed shows no spread."""
    return "n = 1: no spread" if counts.max() == 1 else said(counts)


def ring_undertrained(axes: Axes, x: Iterable[float], y: Iterable[float], undertrained: Iterable[int]) -> None:
    """Put a ring around each point of which at least one trial is under-trained, in data coordinates."""
    places = [(across, up) for across, up, count in zip(x, y, undertrained, strict=True) if count]
    if places:
        axes.plot(*zip(*places, strict=True), zorder=4, **style.UNDERTRAINED)


def undertrained_key(rows: pd.DataFrame, dagger: bool = False) -> list[Line2D]:
    """The entry of a legend that says how many trials, or pairs of them, are under-trained; none if none is.

    ``rows``: with the columns ``n`` and ``undertrained``; ``dagger``: the mark is one, and no ring.
    """
    short = int(rows["undertrained"].sum())
    if not short:
        return []
    look = {"marker": f"${style.DAGGER}$", "color": "black"} if dagger else {**style.UNDERTRAINED, "markersize": 8}
    label = f"under-trained: {short} of {int(rows['n'].sum())}"
    return [Line2D([], [], label=label, **{**look, "linestyle": "none"})]


def remark(axes: Axes, text: str) -> None:
    """A remark at the lower left of a panel, beneath the data."""
    axes.margins(y=0.2)
    axes.text(0.02, 0.05, text, transform=axes.transAxes, fontsize=8, color=style.MUTED)


def legend(
    figure: Figure,
    methods: Methods,
    title: str | None,
    looks: Callable[[str, int], dict[str, Any]] = style.line,
    more: Sequence[Line2D] = (),
) -> None:
    """One legend beneath all panels: the methods that a panel shows, in their order, then ``more``.

    The figure grows by its height.
    """
    shown = {text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]}
    with style.context():
        handles = [
            Line2D([], [], label=label, **looks(str(key[0]), variant))
            for key, (label, variant) in methods.items()
            if label in shown
        ]
        handles += more
        # Many methods in one narrow panel: the figure is widened rather than made a tower.
        entry = max(_LEGEND_ENTRY, _longest(handles))
        figure.set_figwidth(max(figure.get_figwidth(), entry * min(3, math.ceil(len(handles) / 8)) + 0.1))
        fitting = max(1, int(figure.get_figwidth() / entry))
        lines = math.ceil(len(handles) / min(len(handles), fitting))
        columns = math.ceil(len(handles) / lines)
        figure.set_figheight(figure.get_figheight() + (lines + (title is not None)) * _LEGEND_LINE + 0.15)
        place: dict[str, Any] = {"loc": "outside lower center", "frameon": False}
        figure.legend(handles=handles, ncols=columns, title=title, handlelength=3, **place)


def _longest(handles: Sequence[Line2D]) -> float:
    """Width in inches of the longest entry."""
    return 0.62 + 0.075 * max(len(str(handle.get_label())) for handle in handles)
