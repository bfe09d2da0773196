"""The figures, by name. One is a module with two pure functions of the rows of ``trials``: ``table`` and ``draw``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import accuracy_vs_sparsity, ratio_heatmap, rendering

__all__ = ["FIGURES", "FigureKind", "save"]


@dataclass(frozen=True)
class FigureKind:
    """``table`` gives the tidy numbers, ``draw`` the picture; both raise ValueError if there is nothing to show."""

    name: str
    title: str
    table: Callable[[pd.DataFrame], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


_ALL = (
    FigureKind(
        "accuracy_vs_sparsity",
        "Test accuracy over sparsity",
        accuracy_vs_sparsity.table,
        accuracy_vs_sparsity.draw,
    ),
    FigureKind(
        "ratio_heatmap",
        "Difference to dense over sparsity and data ratio",
        ratio_heatmap.table,
        ratio_heatmap.draw,
    ),
)
FIGURES: dict[str, FigureKind] = {kind.name: kind for kind in _ALL}


def save(name: str, trials: pd.DataFrame, write: Callable[[str, bytes], None]) -> list[str]:
    """Render the figure ``name`` of ``trials``; give ``NAME.png``, ``.pdf`` and ``.csv`` to ``write(file, content)``.

    Returns the names of the files. Nothing is written unless all three could be made. ValueError on an unknown name
    and where there is nothing to show.
    """
    if name not in FIGURES:
        raise ValueError(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}")
    kind = FIGURES[name]
    figure = kind.draw(trials)
    csv = kind.table(trials).to_csv(index=False, lineterminator="\n").encode()
    files = {f"{name}.png": rendering.png(figure), f"{name}.pdf": rendering.pdf(figure), f"{name}.csv": csv}
    for file, content in files.items():
        write(file, content)
    return list(files)
