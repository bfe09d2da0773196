"""Marks on points and beside panels: numbers of seeds, rings around under-trained networks, remarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from sparsweep.analysis.figures import labels, style

_RIGHT_END = ("axes fraction", "data")


def note(axes: Axes, text: str) -> None:
    """Write a remark at the upper right of a panel."""
    axes.set_title(text, loc="right", fontsize=8, color=style.MUTED)


@dataclass(frozen=True)
class Point:
    """A point of a panel in data coordinates with ``n`` seeds. ``x`` is None for a horizontal line."""

    x: float | None
    y: float
    n: int
    color: str


def points(x: Iterable[float | None], y: Iterable[float], n: Iterable[int], color: str) -> list[Point]:
    """Return points of one color."""
    return [Point(*place, color) for place in zip(x, y, n, strict=True)]


def count_seeds(axes: Axes, points: Sequence[Point], offset: tuple[float, float] = (3, 2)) -> None:
    """Write the usual number of seeds of a panel, and the number beside each point that differs.

    ``offset``: of a number from its point, in typographic points.
    """
    there = [point for point in points if point.n]
    if not there:
        note(axes, "n = 0")
        return
    counts = pd.Series([point.n for point in there])
    note(axes, spread_note(counts, labels.usual_seeds))
    usual = labels.modal_n(counts)
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
    """Return how many seeds the points of a panel have, in the words of ``said``. One seed shows no spread."""
    return "n = 1: no spread" if counts.max() == 1 else said(counts)


def corrected(tests: int, shown: int, things: str) -> str:
    """Return how tests are corrected: ``Holm over 42 of 48 cells, 0.05``. Cells of one seed have no test."""
    return f"Holm over {tests}{'' if tests == shown else f' of {shown}'} {things}, 0.05"


def ring_undertrained(axes: Axes, x: Iterable[float], y: Iterable[float], undertrained: Iterable[int]) -> None:
    """Draw a ring around each point with at least one under-trained trial, in data coordinates."""
    positions = [(across, up) for across, up, count in zip(x, y, undertrained, strict=True) if count]
    if positions:
        axes.plot(*zip(*positions, strict=True), zorder=4, **style.UNDERTRAINED)


def remark(axes: Axes, *texts: str) -> None:
    """Write remarks at the lower left of a panel, below the data, in lines that fit."""
    wrapped = "\n".join(labels.wrap(text, breadth(axes), 8) for text in texts)
    low, high = axes.get_ylim()
    axes.set_ylim(low - (high - low) * (0.03 + 0.07 * (wrapped.count("\n") + 1)), high)
    axes.text(0.02, 0.03, wrapped, transform=axes.transAxes, fontsize=8, color=style.MUTED, va="bottom")


def breadth(axes: Axes) -> float:
    """Return the approximate width of a panel's axes in inches, before layout."""
    spec = axes.get_subplotspec()
    assert spec is not None and axes.figure is not None
    return axes.get_figure(root=True).get_figwidth() / spec.get_gridspec().ncols - 0.65  # type: ignore[union-attr]
