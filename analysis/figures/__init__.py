"""The figures, by name. One kind is a module with two pure functions of frames: ``table`` and ``draw``.

In a notebook: ``figures.accuracy_vs_sparsity.draw(trials)`` or, of everything at once, ``figures.FIGURES[name].draw(
results)``, where ``results`` is a frame of trials or a ``Results`` with layers and samples too. ``PAPER`` says which
kind, of which trials, each figure of the paper is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import (
    accuracy_vs_flops,
    accuracy_vs_sparsity,
    clean_vs_robust,
    density_effect,
    labels,
    layer_density,
    ratio_heatmap,
    rendering,
    sample_examples,
    style,
    variant_bars,
)
from analysis.figures.paper import PAPER, PaperFigure, named
from analysis.results import Results
from analysis.spreadsheet import to_csv
from analysis.titles import setting_titles

__all__ = [
    "FIGURES",
    "PAPER",
    "FigureKind",
    "Picture",
    "accuracy_vs_flops",
    "accuracy_vs_sparsity",
    "clean_vs_robust",
    "density_effect",
    "layer_density",
    "picture",
    "pictures",
    "ratio_heatmap",
    "sample_examples",
    "save",
    "variant_bars",
]


@dataclass(frozen=True)
class FigureKind:
    """A kind of picture and the ``inputs`` (fields of ``Results``) that its module's functions take in this order."""

    module: Any
    title: str
    inputs: tuple[str, ...] = ("trials",)

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]

    def table(self, results: Results | pd.DataFrame) -> pd.DataFrame:
        """The tidy numbers of the picture; ValueError that says what is missing if there is nothing to show."""
        return self.module.table(*self._frames(results))

    def draw(self, results: Results | pd.DataFrame) -> Figure:
        """The picture; ValueError as :meth:`table`."""
        return self.module.draw(*self._frames(results))

    def _frames(self, results: Results | pd.DataFrame) -> list[pd.DataFrame]:
        whole = Results.of(results)
        return [getattr(whole, name) for name in self.inputs]


_LAYERED = ("trials", "layers")
_ALL = (
    FigureKind(accuracy_vs_sparsity, "Test accuracy over sparsity"),
    FigureKind(ratio_heatmap, "Difference to dense over sparsity and data ratio"),
    FigureKind(variant_bars, "Methods and their variants against dense"),
    FigureKind(accuracy_vs_flops, "Test accuracy against training FLOPs"),
    FigureKind(clean_vs_robust, "Accuracy under attack against clean accuracy"),
    FigureKind(layer_density, "Density of each layer", _LAYERED),
    FigureKind(density_effect, "Depth of the weights and accuracy", _LAYERED),
    FigureKind(sample_examples, "The hardest and the easiest training images", ("samples",)),
)
FIGURES: dict[str, FigureKind] = {kind.name: kind for kind in _ALL}

MOST_SETTINGS = 4
"""More settings than these are drawn as a picture each, so that every one can be read."""


@dataclass(frozen=True)
class Picture:
    """One picture to be drawn: ``name`` of its files, its kind, what it is drawn from, and what stands above it."""

    name: str
    kind: FigureKind
    results: Results
    above: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.kind.title

    def table(self) -> pd.DataFrame:
        return self.kind.table(self.results)

    def draw(self) -> Figure:
        figure = self.kind.draw(self.results)
        if self.above:
            head = "\n".join(labels.wrap(text, figure.get_figwidth()) for text in (*self.above, figure.get_suptitle()))
            with style.context():
                figure.suptitle(head.strip())
        return figure


def pictures(results: Results | pd.DataFrame, sweeps: Iterable[str] = ()) -> Iterator[Picture]:
    """What to draw of ``results`` of the sweeps of these names.

    Of a sweep that is named after a figure of the paper (``fig2``; ``paper``: all of them) that figure in the paper's
    form; of all others every kind. Whether a picture can be drawn shows when it is.
    """
    whole, names = Results.of(results), list(sweeps)
    found = named(names)
    yield from (_of_paper(figure, whole) for figure in found)
    if not names or any(not named([name]) for name in names):
        for kind in FIGURES.values():
            yield from _pages(kind, whole)


def _of_paper(figure: PaperFigure, results: Results) -> Picture:
    matching = figure.match(results.trials)
    chosen = results.only(matching) if matching.any() else results
    above = [figure.title]
    if figure.panels and not matching.any():
        above.append("not the paper's data: all that was run is shown")
    elif missing := figure.missing(results.trials):
        above.append(f"missing: {'; '.join(str(panel) for panel in missing)}")
    return Picture(figure.name, FIGURES[figure.kind], chosen, tuple(above))


def _pages(kind: FigureKind, results: Results) -> Iterator[Picture]:
    """One picture of all settings, or if they are too many, one of each."""
    by_setting = len(results.trials) and "trials" in kind.inputs
    titles = setting_titles(results.trials) if by_setting else pd.Series(dtype=str)
    if titles.nunique() <= MOST_SETTINGS:
        yield picture(kind.name, results)
        return
    for title in sorted(titles.unique()):
        place = re.sub(r"[^a-z0-9.]+", "-", title.lower())
        yield Picture(f"{kind.name}-{place}", kind, results.only(titles == title))


def picture(name: str, results: Results | pd.DataFrame) -> Picture:
    """The picture of the kind ``name`` of everything in ``results``; ValueError that names the choices."""
    if name not in FIGURES:
        raise ValueError(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}")
    return Picture(name, FIGURES[name], Results.of(results))


def save(picture: Picture, write: Callable[[str, bytes], None]) -> list[str]:
    """Render a picture and give its files to ``write(file, content)``: ``NAME.csv``, ``.png`` and ``.pdf``.

    Returns their names. Nothing is written unless all three could be made. ValueError where there is nothing to show.
    """
    files = {f"{picture.name}.csv": to_csv(picture.table())}
    files |= {
        f"{picture.name}.{kind}": content for kind, content in rendering.render(picture.draw(), "png", "pdf").items()
    }
    for file, content in files.items():
        write(file, content)
    return list(files)
