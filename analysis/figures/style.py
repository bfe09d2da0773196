"""How all figures look: one colour, marker and line for each sparsifier, wherever it appears.

Colours are from the Okabe-Ito and Tol palettes, which stay apart for colour-blind readers; the marker and the dashes
differ too, so that lines can be told apart in grey.
"""

from __future__ import annotations

import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib.style

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "figure.titlesize": 10,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: text stays text, and publishers refuse type 3
    "svg.hashsalt": "sparsweep",
}
DPI = 200


def context() -> AbstractContextManager[None]:
    """Matplotlib's defaults with our settings, for drawing and for rendering, whatever a user has configured."""
    return matplotlib.style.context(RC, after_reset=True)


@dataclass(frozen=True)
class MethodStyle:
    """``label`` in legends and titles; the rest as matplotlib understands it."""

    label: str
    color: str
    marker: str
    linestyle: Any = "-"


SPARSIFIERS: dict[str, MethodStyle] = {
    "dense": MethodStyle("dense", "#000000", "", "--"),
    "snip": MethodStyle("SNIP", "#009E73", "s", (0, (10, 1.5))),
    "set": MethodStyle("SET", "#D55E00", "o"),
    "gmp": MethodStyle("GMP", "#E69F00", "^", (0, (6, 1.5))),
    "lth": MethodStyle("LTH", "#AA4499", "D", (0, (6, 1.5, 1, 1.5))),
    "omp": MethodStyle("OMP", "#0072B2", "v", (0, (3, 1.2))),
    "omp_erk": MethodStyle("OMP-ERK", "#56B4E9", "P", (0, (3, 1, 1, 1, 1, 1))),
    "random": MethodStyle("random (ERK)", "#777777", "X", (0, (1, 1))),
    "uniform": MethodStyle("uniform", "#882255", "*", (0, (1, 1.8))),
}
"""In the order of every legend: the reference, before training, during, after, and the two baselines."""

_OTHER_COLORS = ("#332288", "#999933", "#117733", "#661100", "#6699CC", "#B07D00", "#44AA99")
_OTHER_MARKERS = ("<", ">", "p", "h", "d", "8", "H")
_VARIANT_LINES: tuple[Any, ...] = ((0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 3)), (0, (1, 3)))


def of(sparsifier: str) -> MethodStyle:
    """The style of a method; one that is not known here gets its style from its name, the same in every figure."""
    if sparsifier in SPARSIFIERS:
        return SPARSIFIERS[sparsifier]
    rest, color = divmod(zlib.crc32(sparsifier.encode()), len(_OTHER_COLORS))
    marker = _OTHER_MARKERS[rest % len(_OTHER_MARKERS)]
    return MethodStyle(sparsifier, _OTHER_COLORS[color], marker, (0, (5, 2)))


def order(sparsifier: str) -> tuple[int, str]:
    """Sort key of legends and panels: the known methods as listed, then others by name."""
    known = list(SPARSIFIERS)
    return (known.index(sparsifier) if sparsifier in SPARSIFIERS else len(known), sparsifier)


def line(sparsifier: str, variant: int = 0) -> dict[str, Any]:
    """Keyword arguments of a line; ``variant`` > 0: the same method with other parameters, hollow, other dashes."""
    style = of(sparsifier)
    hollow = {"markerfacecolor": "white", "linestyle": _VARIANT_LINES[(variant - 1) % len(_VARIANT_LINES)]}
    own = {"color": style.color, "marker": style.marker, "linestyle": style.linestyle}
    size = {"markersize": 6.5 if style.marker == "*" else 4.5, "linewidth": 1.3}
    return own | size | (hollow if variant else {})
