"""Figures as bytes. Equal figures give equal bytes: files hold no dates and no library versions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sparsweep.analysis.figures import style

# A canvas is told to print, since ``savefig`` would lay the figure out once more for every file.
_PRINT: dict[str, Callable[[Figure, io.BytesIO], Any]] = {
    "png": lambda figure, file: FigureCanvasAgg(figure).print_png(file, metadata={"Software": None}),
    "pdf": lambda figure, file: FigureCanvasPdf(figure).print_pdf(
        file, metadata={"CreationDate": None, "Creator": None, "Producer": None}
    ),
    "svg": lambda figure, file: FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None}),
}


class NotebookFigure(Figure):
    """Figure that a notebook shows as an image, without pyplot."""

    def _repr_png_(self) -> bytes:
        return to_bytes(self, "png")["png"]


def to_bytes(figure: Figure, *kinds: str) -> dict[str, bytes]:
    """Return ``figure`` as ``png``, ``pdf`` (vector, with embedded TrueType fonts) or ``svg``."""
    files = {kind: io.BytesIO() for kind in kinds}
    with style.context():
        lay_out(figure)
        for kind, file in files.items():
            _PRINT[kind](figure, file)
    return {kind: file.getvalue() for kind, file in files.items()}


def lay_out(figure: Figure) -> None:
    """Compute the final layout of ``figure``."""
    figure.set_dpi(style.DPI)
    for _ in range(2):  # once axes have another size they may have other ticks, whose labels need other room
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
