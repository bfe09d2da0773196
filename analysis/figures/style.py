"""Style of all figures: one color, marker and line per sparsifier, everywhere the same.

Colors are from the Okabe-Ito and Tol palettes, which color-blind readers can distinguish. No palette keeps two dozen
colors distinct for everyone, so markers and dashes differ too. They also distinguish lines in grayscale.
"""

from __future__ import annotations

import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
from matplotlib.colors import is_color_like
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "text.parse_math": False,  # names of classes and data sets may hold dollar signs
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
MUTED = "#555555"
"""Color of notes."""

MISSING: dict[str, Any] = {"facecolor": "#f0f0f0", "edgecolor": "#9a9a9a", "hatch": "xxxx", "linewidth": 0}
"""Color of cells that were planned and are not finished."""

UNDERTRAINED: dict[str, Any] = {
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": "#B22222",
    "markeredgewidth": 0.9,
    "linestyle": "none",
}
"""Color of the ring around a point with under-trained networks."""
DAGGER = "†"
"""Mark of under-trained networks beside a text."""


def context() -> AbstractContextManager[None]:
    """Return matplotlib's defaults with our settings, for drawing and rendering.

    A user's configuration has no effect.
    """
    return matplotlib.style.context(RC, after_reset=True)


@dataclass(frozen=True)
class MethodStyle:
    """Style of a method.

    ``label``: in legends and titles. ``family``: in small multiples. The rest: matplotlib's terms.
    """

    label: str
    color: str
    marker: Any
    linestyle: Any = "-"
    family: str = "further methods"


def _dashes(*lengths: float) -> tuple[int, tuple[float, ...]]:
    """Return alternating lengths of dashes and gaps, in line widths."""
    return 0, lengths


INITIAL = "pruned before training"
DYNAMIC = "rewired while training"
GRADUAL = "pruned while training"
TRAINED = "pruned after training"
CHANCE = "masks by chance"
"""Families of methods, by when and how masks are decided."""

SPARSIFIERS: dict[str, MethodStyle] = {
    "dense": MethodStyle("dense", "#000000", "", "--"),
    "snip": MethodStyle("SNIP", "#009E73", "s", _dashes(10, 1.5), INITIAL),
    "random_snip": MethodStyle("random (SNIP)", "#7A9A01", "d", _dashes(10, 1.5, 1, 1.5), INITIAL),
    "grasp": MethodStyle("GraSP", "#117733", "p", _dashes(10, 1.5, 1, 1.5, 1, 1.5), INITIAL),
    "synflow": MethodStyle("SynFlow", "#44AA99", "h", _dashes(10, 1.5, 3, 1.5), INITIAL),
    "set": MethodStyle("SET", "#D55E00", "o", "-", DYNAMIC),
    "rigl": MethodStyle("RigL", "#EE3377", "<", _dashes(14, 1), DYNAMIC),
    "itop": MethodStyle("ITOP", "#661100", ">", _dashes(14, 1, 2, 1), DYNAMIC),
    "mest": MethodStyle("MEST", "#999933", (4, 1, 0), _dashes(14, 1, 2, 1, 2, 1), DYNAMIC),
    "snfs": MethodStyle("SNFS", "#A65628", (6, 1, 0), _dashes(8, 2), DYNAMIC),
    "dsr": MethodStyle("DSR", "#CC6677", "8", _dashes(8, 2, 2, 2), DYNAMIC),
    "topkast": MethodStyle("Top-KAST", "#6A51A3", (3, 1, 0), _dashes(8, 1, 4, 1), DYNAMIC),
    "bayesian_connectivity": MethodStyle("Bayesian", "#B2457E", (5, 0, 180), _dashes(8, 2, 1, 2, 1, 2), DYNAMIC),
    "gmp": MethodStyle("GMP", "#E69F00", "^", _dashes(6, 1.5), GRADUAL),
    "movement": MethodStyle("movement", "#332288", (5, 1, 180), _dashes(5, 1, 2, 1), GRADUAL),
    "nm": MethodStyle("N:M", "#4477AA", "H", _dashes(4, 2), GRADUAL),
    "lth": MethodStyle("LTH", "#AA4499", "D", _dashes(6, 1.5, 1, 1.5), TRAINED),
    "omp": MethodStyle("OMP", "#0072B2", "v", _dashes(3, 1.2), TRAINED),
    "omp_erk": MethodStyle("OMP-ERK", "#56B4E9", "P", _dashes(3, 1, 1, 1, 1, 1), TRAINED),
    "random": MethodStyle("random (ERK)", "#777777", "X", _dashes(1, 1), CHANCE),
    "static": MethodStyle("static", "#4D4D4D", (4, 1, 45), _dashes(2, 1), CHANCE),
    "uniform": MethodStyle("uniform", "#882255", "*", _dashes(1, 1.8), CHANCE),
}
"""Legend order: the reference, then methods before, during and after training, then baselines."""

_OTHER_COLORS = ("#5C4B7D", "#7A6A2F", "#2F6F7A", "#8C3B3B", "#3B5B8C", "#5B7A3B", "#7D4B6A")
_OTHER_MARKERS = ("x", "+", "1", "2", "3", "4", "|")
_VARIANT_LINES: tuple[Any, ...] = ((0, (1, 1)), (0, (6, 2, 1, 2)), (0, (3, 3)), (0, (1, 3)))
_STARS = {"*", (4, 1, 0), (4, 1, 45), (6, 1, 0), (3, 1, 0), (5, 1, 180)}  # they look small at the size of a disc


_stated: dict[str, tuple[str, str]] = {}


def state(sparsifier: str, label: str = "", color: str = "") -> None:
    """Register label and color (``#rrggbb``) of a method that is unknown here, for this process.

    Raises:
        ValueError: matplotlib does not know ``color``.
    """
    if color and not is_color_like(color):
        raise ValueError(f"{sparsifier}.color: no color (got {color!r}). Write it as #rrggbb.")
    _stated[sparsifier] = (label, color)


def of(sparsifier: str) -> MethodStyle:
    """Return the style of a method. An unknown method gets a style from its name, equal in every figure.

    Registered styles (:func:`state`) take precedence.
    """
    if sparsifier in SPARSIFIERS:
        return SPARSIFIERS[sparsifier]
    label, own = _stated.get(sparsifier, ("", ""))
    rest, color = divmod(zlib.crc32(sparsifier.encode()), len(_OTHER_COLORS))
    marker = _OTHER_MARKERS[rest % len(_OTHER_MARKERS)]
    return MethodStyle(label or sparsifier, own or _OTHER_COLORS[color], marker, (0, (5, 2)))


def order(sparsifier: str) -> tuple[int, str]:
    """Return the sort key of legends and panels: known methods as listed, then others by name."""
    known = list(SPARSIFIERS)
    return (known.index(sparsifier) if sparsifier in SPARSIFIERS else len(known), sparsifier)


def line(sparsifier: str, variant: int = 0) -> dict[str, Any]:
    """Return keyword arguments of a line.

    ``variant`` > 0: other parameters of the method, hollow markers, other dashes.
    """
    style = of(sparsifier)
    hollow = {"markerfacecolor": "white", "linestyle": _VARIANT_LINES[(variant - 1) % len(_VARIANT_LINES)]}
    own = {"color": style.color, "marker": style.marker, "linestyle": style.linestyle}
    size = {"markersize": 6.5 if style.marker in _STARS else 4.5, "linewidth": 1.3}
    return own | size | (hollow if variant else {})


def glyph(text: str) -> Path:
    """Return ``text`` as a marker, centered, of height 1."""
    outline = TextPath((0, 0), text, size=1)
    box = outline.get_extents()
    return Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).transform_path(outline)


def point(sparsifier: str, variant: int = 0) -> dict[str, Any]:
    """Return keyword arguments of a single marker. Dense, which has none in lines, is a ring."""
    looks = {**line(sparsifier, variant), "linestyle": "none"}
    ring = {"marker": "o", "markerfacecolor": "white", "markersize": 5.5, "markeredgewidth": 1.3}
    return looks | (ring if sparsifier == "dense" else {})


UNFILLED = frozenset(_OTHER_MARKERS)
"""Markers with an edge and no face."""
