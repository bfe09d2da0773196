"""Short texts in figures: methods, numbers of seeds, lines that fit."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable

import pandas as pd

from analysis import titles
from analysis.arms import METHOD
from analysis.figures import style

Key = tuple[Hashable, ...]


def methods(points: pd.DataFrame) -> dict[Key, tuple[str, int]]:
    """Label and variant (0, 1, ...) of each (sparsifier, sparsifier_parameters) in ``points``, in legend order."""
    rows = points[list(METHOD)].drop_duplicates()
    found: dict[Key, tuple[str, int]] = {}
    for sparsifier in sorted(rows["sparsifier"].unique(), key=style.order):
        parameters = sorted(rows.loc[rows["sparsifier"] == sparsifier, "sparsifier_parameters"])
        for variant, more in enumerate(titles.differing([titles.parse(text) for text in parameters])):
            name = style.of(sparsifier).label
            found[sparsifier, parameters[variant]] = (f"{name} ({more})" if more else name, variant)
    return found


def of_rows(rows: pd.DataFrame) -> list[str]:
    """The label of each row's method."""
    known = methods(rows)
    return [known[key][0] for key in zip(rows["sparsifier"], rows["sparsifier_parameters"], strict=True)]


def seeds(counts: pd.Series) -> str:
    """``n = 3`` or ``n = 2–3``; ``counts``: replicates of each point, 0 for a missing one."""
    there = counts[counts > 0]
    span = f"{there.min()}" if there.min() == there.max() else f"{there.min()}–{there.max()}"
    return f"n = {span}"


def usual(counts: pd.Series) -> int:
    """The number of replicates that most points have, of two that are as frequent the larger; ``counts`` as above."""
    return int(counts[counts > 0].mode().max())


def usual_seeds(counts: pd.Series) -> str:
    """``n = 3`` or, of a picture that numbers the points with more or fewer, ``n = 3, others numbered``."""
    others = ", others numbered" if counts[counts > 0].nunique() > 1 else ""
    return f"n = {usual(counts)}{others}"


def wrap(text: str, width: float) -> str:
    """``text`` in lines that fit into ``width`` inches at the size of a title."""
    return textwrap.fill(text, max(10, int(width * 13)))
