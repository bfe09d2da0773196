"""Positions of a figure's artists after layout, and layout errors: overlaps and artists outside the page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from sparsweep.analysis.figures import export, style

TOUCHING = 1.0
"""Pixels by which bounding boxes of texts may overlap: a box includes space above and below the letters."""


def laid_out(figure: Figure) -> Figure:
    """Lay out and draw ``figure`` as for saving, and return it."""
    with style.context():
        export.lay_out(figure)
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return the visible texts with their bounding boxes in pixels."""
    with style.context():  # Matplotlib creates ticks again on each access
        return list(_texts(figure))


def _texts(figure: Figure) -> Iterator[tuple[Text, Bbox]]:
    for text in figure.findobj(mpl.text.Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text.get_figure() is not None and _is_drawn(text, figure):
            yield text, Text.get_window_extent(text)


def _is_drawn(text: Text, figure: Figure) -> bool:
    """Return False for tick labels outside their axis and for labels of hidden axes."""
    for axes in figure.axes:
        ticks = [tick for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks() + axis.get_minor_ticks()]
        if any(text in (tick.label1, tick.label2) for tick in ticks):
            shown = [tick for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
            return any(text in (tick.label1, tick.label2) for tick in shown)
        if text is axes.xaxis.offsetText or text is axes.yaxis.offsetText:
            return bool(text.get_text())
    return True


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Return pairs of texts that overlap."""
    found = [(text.get_text(), box.padded(-TOUCHING)) for text, box in texts(figure) if not text.get_rotation() % 90]
    return [(a, b) for (a, first), (b, second) in itertools.combinations(found, 2) if first.overlaps(second)]


def outside_the_page(figure: Figure) -> list[str]:
    page = figure.bbox.padded(1)
    return [text.get_text() for text, box in texts(figure) if not _holds(page, box)]


def _holds(outer: Bbox, inner: Bbox) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def lines_outside(figure: Figure) -> list[tuple[str, object]]:
    """Return lines with a point outside their axes."""
    return [(axes.get_title(loc="left"), line.get_label()) for axes in figure.axes for line in _outside(axes)]


def _outside(axes: Axes) -> Iterator[mpl.lines.Line2D]:
    frame = axes.get_window_extent().padded(1)
    for line in axes.lines:
        places = np.asarray(line.get_transform().transform(np.column_stack(line.get_data()).astype(float)))
        places = places[np.isfinite(places).all(axis=1)]
        if len(places) and not _holds(frame, Bbox([places.min(axis=0), places.max(axis=0)])):
            yield line
