"""Short texts in figures: method names, numbers of seeds, wrapped lines."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Hashable
from functools import cache
from typing import Any

import pandas as pd
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from sparsweep.analysis import naming
from sparsweep.analysis.figures import fonts, style
from sparsweep.analysis.groups import METHOD_KEYS

Key = tuple[Hashable, ...]
Methods = dict[Key, tuple[str, int]]

MOST_VARIANTS = 5
"""Largest number of variants of one sparsifier in a legend."""


def methods(points: pd.DataFrame) -> Methods:
    """Return label and variant (0, 1, ...) per (sparsifier, sparsifier_parameters) in ``points``, in legend order."""
    rows = points[list(METHOD_KEYS)].drop_duplicates()
    found: Methods = {}
    for sparsifier in sorted(rows["sparsifier"].unique(), key=style.order):
        parameters = sorted(rows.loc[rows["sparsifier"] == sparsifier, "sparsifier_parameters"])
        name = style.of(sparsifier).label
        for variant, fields in enumerate(naming.telling([naming.parse(text) for text in parameters])):
            more = ", ".join(_in_words(field, value) for field, value in fields.items())
            found[sparsifier, parameters[variant]] = (f"{name} ({more})" if more else name, variant)
    return found


def few(methods: Methods) -> Methods:
    """Return ``methods`` for a legend. A sparsifier with too many variants, as in a search, gets one label."""
    counts = Counter(sparsifier for sparsifier, _ in methods)
    return {
        key: (f"{style.of(str(key[0])).label} ({counts[key[0]]} settings)", 0)
        if counts[key[0]] > MOST_VARIANTS
        else told
        for key, told in methods.items()
    }


def _in_words(field: str, value: Any) -> str:
    """Return the text of a parameter that distinguishes two variants."""
    if field == "rounds":
        return f"{naming.brief(value)} round{'' if value == 1 else 's'}"
    if field == "rewind_to":
        return "from start" if value == 0 else f"from epoch {naming.brief(value)}"
    return f"{field.replace('_', ' ')} {naming.brief(value)}"


def of_rows(rows: pd.DataFrame) -> list[str]:
    """Return the label of each row's method."""
    known = methods(rows)
    return [known[key][0] for key in zip(rows["sparsifier"], rows["sparsifier_parameters"], strict=True)]


def seeds(counts: pd.Series) -> str:
    """Return ``n = 3`` or ``n = 2–3``. ``counts``: replicates per point, 0 if missing."""
    there = counts[counts > 0]
    span = f"{there.min()}" if there.min() == there.max() else f"{there.min()}–{there.max()}"
    return f"n = {span}"


def modal_n(counts: pd.Series) -> int:
    """Return the most frequent number of replicates; of two, the larger. ``counts``: as above."""
    return int(counts[counts > 0].mode().max())


def usual_seeds(counts: pd.Series) -> str:
    """Return ``n = 3``, or ``n = 3, others numbered`` if points with another n carry it."""
    others = ", others numbered" if counts[counts > 0].nunique() > 1 else ""
    return f"n = {modal_n(counts)}{others}"


def wrap(text: str, width: float, size: float = style.RC["figure.titlesize"]) -> str:
    """Return ``text`` in lines that fit ``width`` inches at ``size`` points. Longer words are broken."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and inches(joined, size) <= width:
            lines[-1] = joined
            continue
        lines.append(word)
        while (rest := lines[-1]) and inches(rest, size) > width and len(rest) > 1:
            most = max(1, bisect(range(1, len(rest)), width, key=lambda end: inches(rest[:end], size)))
            lines[-1:] = [rest[:most], rest[most:]]
    return "\n".join(lines)


@cache
def inches(text: str, size: float) -> float:
    """Return the width of one line of ``text`` at ``size`` points."""
    font = FontProperties(family=style.RC["font.family"], size=size)
    return float(text_to_path.get_text_width_height_descent(fonts.stand_in(text), font, ismath=False)[0]) / 72
