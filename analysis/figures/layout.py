"""Grid, titles and legend of figures with several panels.

A panel is one comparison: a setting (data set, network, difficulty, recipe), a data ratio, and a sparsity if the figure
does not go through sparsities. More than CROWD methods are split into one panel per family, with dense in each, and
lines are labeled at their ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparsweep.analysis.figures import fonts, labels, style
from sparsweep.analysis.figures.export import NotebookFigure
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import DENSE
from sparsweep.analysis.naming import ALL_DATA, setting_titles

PANEL = (3.3, 2.7)
"""Width and height of a panel in inches."""
CROWD = 10
"""Largest number of methods in one panel. More are drawn by family."""

_LEGEND_LINE, _KEY = 0.168, 0.62  # inches: a line of the legend, the sample and the gaps of an entry
_MOST_COLUMNS = 3  # wider figures have unreadable text once they stand on a page
_NARROWEST, _WIDEST = 5.0, _MOST_COLUMNS * PANEL[0]
_NEAR = 0.75  # share of a panel from which on a point is near its right end
_END_SIZE = 7.0  # points: a method's name at the end of its line
_WORDS = {"data_ratio": "data ratio", "at_sparsity": "sparsity"}

Methods = labels.Methods
Paint = Callable[[Axes, pd.DataFrame, Methods], None]


def panels(
    points: pd.DataFrame,
    by: Sequence[str],
    paint: Paint,
    xlabel: str,
    ylabel: str,
    size: tuple[float, float] = PANEL,
    form: Form = DEFAULT,
    families: bool = True,
    below: tuple[str, Paint] | None = None,
) -> Figure:
    """Return a figure with one panel per setting and value of ``by``, filled by ``paint``. The caller adds the legend.

    ``size``: of a panel in inches. ``families``: split many methods by family. ``below``: a second panel, its y label.
    """
    levels = dict([(ylabel, paint), *([below] if below else [])])
    titles, methods = setting_titles(points), labels.few(labels.methods(points))
    crowded = families and len({label for key, (label, _) in methods.items() if key[0] != DENSE}) > CROWD
    split = _families if crowded else lambda panel: [("", panel)]
    parts = [part for _, panel in points.groupby([titles, *by]) for part in split(panel)]
    size = (min(size[0], PANEL[0]), min(size[1], PANEL[1])) if crowded else size
    columns, rows = _grid(len(parts), 1 if crowded else points[by[0]].nunique(), _fitting(size[0], form))
    width = form.width or max(columns * size[0], _NARROWEST)
    ends = 0.1 + max(labels.inches(label, _END_SIZE) for label, _ in methods.values()) if crowded else 0.0
    each, height = width / columns, size[1] * min(1.0, max(0.8, width / columns / size[0]))
    with style.context():
        figure = NotebookFigure(figsize=(width, len(levels) * rows * height + 0.3), layout="constrained")
        for number, (family, panel) in enumerate(parts):
            title = "" if titles.nunique() == 1 else titles[panel.index[0]]
            head = [title, ", ".join(_of(panel, name) for name in by), family]
            under = xlabel if number + columns >= len(parts) else ""
            stack = _stacked(figure, (rows, columns), number, list(levels), under, (each, height))
            for axes, fill in zip(stack, levels.values(), strict=True):
                fill(axes, panel, methods)
                _head(axes, head if axes is stack[0] else [], each - 0.65, ends)
        if titles.nunique() == 1:
            figure.suptitle(labels.wrap(titles.iloc[0], width - 0.2))
        if crowded:
            _name_lines(figure)
    return figure


def _stacked(
    figure: Figure, grid: tuple[int, int], number: int, ylabels: Sequence[str], xlabel: str, size: tuple[float, float]
) -> list[Axes]:
    """Add panel ``number`` of a ``grid`` (rows, columns): one axes per y label, one below the other.

    ``size``: width and height in inches.
    """
    rows, columns = grid
    row, column = divmod(number, columns)
    places = [(row * len(ylabels) + level) * columns + column + 1 for level in range(len(ylabels))]
    found = [figure.add_subplot(rows * len(ylabels), columns, place) for place in places]
    if column == 0:
        for axes, label in zip(found, ylabels, strict=True):
            axes.set_ylabel(labels.wrap(label, size[1] - 0.4, style.RC["axes.labelsize"]))
    found[-1].set_xlabel(labels.wrap(xlabel, size[0] - 0.5, style.RC["axes.labelsize"]))
    return found


def _name_lines(figure: Figure) -> None:
    """Label the lines of a figure by family at their ends."""
    figure.set_gid(BY_FAMILY)
    figure.draw_without_rendering()  # computes the height of the axes
    for axes in figure.axes:
        _name_ends(axes, axes.get_position().height * figure.get_figheight())


def plain_grid(count: int, size: tuple[float, float], form: Form = DEFAULT) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` empty panels of about ``size`` inches, as many per row as fit."""
    columns, rows = _grid(count, 1, _fitting(size[0], form))
    figure = NotebookFigure(figsize=(form.width or columns * size[0], rows * size[1]), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _of(panel: pd.DataFrame, name: str) -> str:
    """Return a panel's title: ``data ratio 0.3``, ``all data``, ``sparsity 0.9``."""
    value = panel[name].iloc[0]
    return ALL_DATA if name == "data_ratio" and value == 1 else f"{_WORDS[name]} {value:.4g}"


def _families(panel: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return the families of a panel's methods in legend order, each with dense."""
    family = panel["sparsifier"].map(lambda name: style.of(str(name)).family)
    is_dense = panel["sparsifier"] == DENSE
    order = sorted(panel.loc[~is_dense, "sparsifier"].unique(), key=style.order)
    for name in dict.fromkeys(style.of(sparsifier).family for sparsifier in order):
        yield name, panel[is_dense | (family == name)]


def _head(axes: Axes, lines: Sequence[str], width: float, ends: float) -> None:
    """Write a panel's title at the left and its note at the right, below the title if it does not fit.

    ``width``: room for the title. ``ends``: part of it above the names at line ends, beside the axes.
    """
    size, note = style.RC["axes.titlesize"], axes.get_title(loc="right")
    wrapped = [labels.wrap(line, width, size) for line in lines if line]
    widest = max((labels.inches(line, size) for text in wrapped for line in text.splitlines()), default=0.0)
    if note and widest + labels.inches(note, 8) + 0.1 > width - ends:
        wrapped.append(note)
        axes.set_title("", loc="right")
    axes.set_title("\n".join(wrapped), loc="left")


def _fitting(width: float, form: Form) -> int:
    """Return how many panels of ``width`` inches fit in a row, at least one."""
    return max(1, int((form.width or _WIDEST) / width + 1e-6))


def _grid(panels: int, values: int, most: int) -> tuple[int, int]:
    """Return columns and rows, evenly filled: one row per setting if its panels fit."""
    in_line = values if values > 1 else panels
    columns = math.ceil(in_line / math.ceil(in_line / most))
    return columns, math.ceil(panels / columns)


def _name_ends(axes: Axes, height: float) -> None:
    """Write each method's name beside the last point of its line, moved so that names do not overlap.

    ``height``: of the axes in inches.
    """
    ends = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
        if isinstance(line, Line2D) and label != style.of(DENSE).label:
            x, y = (np.asarray(values, dtype=float) for values in line.get_data())
            if np.isfinite(y).any():
                last = np.flatnonzero(np.isfinite(y))[-1]
                ends[label] = (x[last], y[last], line.get_color())
    if not ends:
        return
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    order = sorted(ends, key=lambda label: ends[label][1])
    wanted = np.array([(ends[label][1] - low) / (high - low) for label in order])
    positions = apart(wanted, 1.2 * _END_SIZE / 72 / height)
    axes.set_ylim(low, high)
    for label, position in zip(order, positions, strict=True):
        x, y, color = ends[label]
        far = (x - left) / (right - left) < _NEAR
        looks = {"color": style.MUTED, "linestyle": ":"} if far else {"color": color}  # else it looks like a curve
        axes.annotate(
            label,
            (x, y),
            (1.04, position),
            textcoords="axes fraction",
            va="center",
            fontsize=_END_SIZE,
            gid=END,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "relpos": (0, 0.5), **looks},
        )


BY_FAMILY = "by family"
"""Group id of figures with one panel per family."""
END = "end"
"""Group id of names at line ends, which the legend leaves out."""


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Return positions near ``wanted`` (ascending) at least ``gap`` apart, centered in [0, 1] if they fill it."""
    positions = wanted.copy()
    for index in range(1, len(positions)):
        positions[index] = max(positions[index], positions[index - 1] + gap)
    most = max(1.0, 0.5 + (len(positions) - 1) * gap / 2)
    for index in range(len(positions) - 1, -1, -1):
        positions[index] = min(positions[index], most - (len(positions) - 1 - index) * gap)
    return positions


def name_places(axes: Axes, names: Sequence[str], width: float) -> None:
    """Write ``names`` below the positions 0, 1, ... of a panel of ``width`` inches, rotated to fit."""
    space = width / max(len(names), 1)
    size = min(8.0, max(5.0, 60 * space))
    turned = 90 if space < 0.25 else 40
    looks: dict[str, Any] = (
        {"ha": "center", "va": "top"} if turned == 90 else {"ha": "right", "rotation_mode": "anchor"}
    )
    axes.set_xticks(range(len(names)), names, rotation=turned, fontsize=size, **looks)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)


def undertrained_key(rows: pd.DataFrame, dagger: bool = False) -> list[Line2D]:
    """Return the legend entry with the number of under-trained trials or pairs. None if there is none.

    ``rows``: with the columns ``n`` and ``undertrained``. ``dagger``: whether the mark is a dagger instead of a ring.
    """
    short = int(rows["undertrained"].sum())
    if not short:
        return []
    label = f"under-trained: {short} of {int(rows['n'].sum())}"
    if dagger:
        return [glyph_key(style.DAGGER, label)]
    return [Line2D([], [], label=label, **{**style.UNDERTRAINED, "markersize": 8})]


def glyph_key(text: str, label: str, size: float = 9) -> Line2D:
    """Return a legend entry whose sample is a text."""
    looks: dict[str, Any] = {"color": "black", "linestyle": "none", "markeredgewidth": 0}
    return Line2D([], [], label=label, marker=style.glyph(text), markersize=size, **looks)


def legend(
    figure: Figure,
    methods: Methods,
    title: str | None,
    looks: Callable[[str, int], dict[str, Any]] = style.line,
    more: Sequence[Artist] = (),
    form: Form = DEFAULT,
) -> None:
    """Add one legend below all panels: the methods shown, in order, then ``more``.

    Methods that are named at line ends are left out. The figure grows by the height of the legend.
    """
    shown = {text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]}
    shown -= {text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == END}
    with style.context():
        handles = {
            label: Line2D([], [], label=label, **looks(str(key[0]), variant))
            for key, (label, variant) in labels.few(methods).items()
            if label in shown
        }
        add_legend(figure, [*handles.values(), *more], title, form)


def add_legend(figure: Figure, handles: Sequence[Artist], title: str | None, form: Form = DEFAULT) -> None:
    """Add a legend of ``handles`` below all panels, in as many columns as fit. The figure grows by its height."""
    size = style.RC["legend.fontsize"]
    if figure.get_gid() == BY_FAMILY:
        title = "; ".join([*([title] if title else []), "each panel has a scale of its own"])
    with style.context():
        if handles:
            widths = [_KEY + labels.inches(str(handle.get_label()), size) for handle in handles]
            # Many methods in one narrow panel: the figure is widened rather than made a tower.
            wanted = max(widths) * min(_MOST_COLUMNS, math.ceil(len(handles) / 8)) + 0.1
            figure.set_figwidth(form.width or max(figure.get_figwidth(), wanted))
            width = figure.get_figwidth() - 0.1
            columns = _legend_columns(widths, width)
            head = labels.wrap(title or "", width, size)
            lines = math.ceil(len(handles) / columns) + len(head.splitlines())
            figure.set_figheight(figure.get_figheight() + lines * _LEGEND_LINE + 0.15)
            position: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "columnspacing": 1.2}
            made = figure.legend(handles=handles, ncols=columns, title=head or None, handlelength=2.6, **position)
            made.get_title().set_multialignment("center")
        elif title:
            figure.supxlabel(labels.wrap(title, figure.get_figwidth() - 0.1, size), fontsize=size)
        fonts.fit(figure)


def _legend_columns(widths: Sequence[float], width: float) -> int:
    """Return how many columns of entries of these ``widths`` fit into ``width`` inches, evenly filled."""
    for columns in range(len(widths), 1, -1):
        if sum(max(part) for part in np.array_split(widths, columns)) <= width:
            lines = math.ceil(len(widths) / columns)
            return math.ceil(len(widths) / lines)
    return 1
