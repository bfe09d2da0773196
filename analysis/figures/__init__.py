"""Registry of figures. A figure type is a module with two pure functions of frames, ``table`` and ``draw``.

In a notebook: ``figures.accuracy_vs_sparsity.draw(trials)``, or ``figures.FIGURES[name].draw(results)`` with a frame of
trials or a ``Results`` that also has layers and samples. ``PAPER`` maps each figure of the paper to a type and trials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sparsweep.analysis.figures import (
    accuracy_vs_flops,
    accuracy_vs_sparsity,
    agreement,
    class_accuracy,
    clean_vs_robust,
    density_effect,
    easy_forgetting,
    exemplar_images,
    export,
    hardness_deciles,
    labels,
    layer_density,
    learning_curves,
    ratio_heatmap,
    sample_examples,
    sample_flips,
    search_history,
    search_importance,
    style,
    variant_bars,
)
from sparsweep.analysis.figures.form import DEFAULT, Form, inches
from sparsweep.analysis.figures.paper import PAPER, PaperFigure, named
from sparsweep.analysis.groups import COMPARISON_KEYS
from sparsweep.analysis.naming import setting_titles
from sparsweep.analysis.results import Results
from sparsweep.analysis.spreadsheet import to_csv

__all__ = [
    "FIGURES",
    "PAPER",
    "FigureKind",
    "Form",
    "Picture",
    "accuracy_vs_flops",
    "accuracy_vs_sparsity",
    "agreement",
    "check_kinds",
    "class_accuracy",
    "clean_vs_robust",
    "density_effect",
    "easy_forgetting",
    "exemplar_images",
    "hardness_deciles",
    "inches",
    "layer_density",
    "learning_curves",
    "picture",
    "pictures",
    "ratio_heatmap",
    "sample_examples",
    "sample_flips",
    "save",
    "search_history",
    "search_importance",
    "variant_bars",
]


@dataclass(frozen=True)
class FigureKind:
    """A figure type.

    Attributes:
        inputs: Fields of ``Results`` that the module's functions take, in order.
        asks: Whether they also take the planned trials, to mark what is missing.
    """

    module: Any
    title: str
    inputs: tuple[str, ...] = ("trials",)
    asks: bool = False

    @property
    def name(self) -> str:
        """Name of the figure type."""
        return self.module.__name__.rpartition(".")[2]

    def table(self, results: Results | pd.DataFrame) -> pd.DataFrame:
        """Return the tidy numbers of the figure. Raises ValueError with the reason if there is nothing to show."""
        inputs, asked = self._inputs(results)
        return self.module.table(*inputs, **asked)

    def draw(self, results: Results | pd.DataFrame, form: Form = DEFAULT) -> Figure:
        """Return the figure. Raises ValueError as :meth:`table` does."""
        inputs, asked = self._inputs(results)
        return self.module.draw(*inputs, **asked, form=form)

    def _inputs(self, results: Results | pd.DataFrame) -> tuple[list[Any], dict[str, Any]]:
        whole = Results.of(results)
        return [getattr(whole, name) for name in self.inputs], {"asked": whole.asked} if self.asks else {}


_LAYERED = ("trials", "layers")
_OUTCOMES = ("trials", "outcomes")
_ALL = (
    FigureKind(accuracy_vs_sparsity, "Test accuracy over sparsity", asks=True),
    FigureKind(ratio_heatmap, "Difference to dense over sparsity and data ratio", asks=True),
    FigureKind(variant_bars, "Methods and their variants against dense", asks=True),
    FigureKind(accuracy_vs_flops, "Test accuracy against training FLOPs"),
    FigureKind(clean_vs_robust, "Accuracy under attack against clean accuracy", asks=True),
    FigureKind(learning_curves, "Test accuracy over training", ("trials", "epochs")),
    FigureKind(layer_density, "Density of each layer", _LAYERED, asks=True),
    FigureKind(density_effect, "Depth of the weights and accuracy", _LAYERED),
    FigureKind(hardness_deciles, "Test accuracy by hardness of the images", _OUTCOMES),
    FigureKind(easy_forgetting, "Accuracy on easy and on hard images", _OUTCOMES),
    FigureKind(sample_flips, "Images lost and gained against dense", _OUTCOMES),
    FigureKind(class_accuracy, "Difference to dense per class", _OUTCOMES),
    FigureKind(agreement, "Agreement of predictions between methods", _OUTCOMES),
    FigureKind(exemplar_images, "Images that pruning changes", (*_OUTCOMES, "test_images")),
    FigureKind(search_history, "The course of a search", ("searches",)),
    FigureKind(search_importance, "What mattered in a search", ("searches",)),
    FigureKind(sample_examples, "The hardest and the easiest training images", ("samples",)),
)
FIGURES: dict[str, FigureKind] = {kind.name: kind for kind in _ALL}

MOST_SETTINGS = 4
"""Largest number of settings in one figure. Beyond, each setting gets its own."""


@dataclass(frozen=True)
class Picture:
    """A figure to draw: the ``name`` of its files, its type, its data and its title."""

    name: str
    kind: FigureKind
    results: Results
    above: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Title above the figure."""
        return self.kind.title

    def table(self) -> pd.DataFrame:
        """Return the tidy numbers of the figure."""
        return self.kind.table(self.results)

    def draw(self, form: Form = DEFAULT) -> Figure:
        """Return the figure."""
        figure = self.kind.draw(self.results, form)
        if self.above:
            with style.context():
                width = figure.get_figwidth() - 0.2
                above = [labels.wrap(text, width) for text in self.above]
                figure.suptitle("\n".join([*above, figure.get_suptitle()]).strip())
        return figure


def pictures(
    results: Results | pd.DataFrame, sweeps: Iterable[str] = (), kinds: Collection[str] = ()
) -> Iterator[Picture]:
    """Return the figures to draw.

    Args:
        results: The data.
        sweeps: Names of the sweeps. A sweep named after a figure of the paper (``fig2``; ``paper``: all) gets that
        figure
            in the paper's form; all others get every type.
        kinds: Names in FIGURES. Empty: all.
    """
    whole, names = Results.of(results), list(sweeps)
    found = named(names)
    wanted = check_kinds(kinds) or list(FIGURES)
    yield from (_of_paper(figure, whole) for figure in found if figure.kind in wanted)
    if not names or any(not named([name]) for name in names):
        for kind in wanted:
            yield from _pages(FIGURES[kind], whole)


def check_kinds(kinds: Iterable[str]) -> list[str]:
    """Return ``kinds`` as a list. Raises ValueError with the choices for an unknown name."""
    found = list(kinds)
    for name in found:
        if name not in FIGURES:
            raise ValueError(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}")
    return found


def _of_paper(figure: PaperFigure, results: Results) -> Picture:
    matching = figure.match(results.trials)
    chosen = results.where(figure.match) if matching.any() else results
    above = [figure.title]
    if figure.panels and not matching.any():
        above.append("not the paper's data: all that was run is shown")
    elif missing := figure.missing(results.trials):
        above.append(f"missing: {'; '.join(str(panel) for panel in missing)}")
    return Picture(figure.name, FIGURES[figure.kind], chosen, tuple(above))


def _pages(kind: FigureKind, results: Results) -> Iterator[Picture]:
    """Return one figure of all settings, or one per setting if there are too many."""
    by_setting = len(results.trials) and "trials" in kind.inputs
    asked = results.trials.head(0) if results.asked is None else results.asked
    both = pd.concat([results.trials[list(COMPARISON_KEYS)], asked[list(COMPARISON_KEYS)]], ignore_index=True)
    titles = setting_titles(both) if by_setting else pd.Series(dtype=str)
    of_trials, of_asked = titles.iloc[: len(results.trials)], titles.iloc[len(results.trials) :]
    if of_trials.nunique() <= MOST_SETTINGS:
        yield picture(kind.name, results)
        return
    for title in sorted(of_trials.unique()):
        place = re.sub(r"[^a-z0-9.]+", "-", title.lower())
        chosen = results.where_rows((of_trials == title).to_numpy(), (of_asked == title).to_numpy())
        yield Picture(f"{kind.name}-{place}", kind, chosen)


def picture(name: str, results: Results | pd.DataFrame) -> Picture:
    """Return the figure of type ``name`` for all ``results``.

    Raises ValueError with the choices for an unknown name.
    """
    check_kinds([name])
    return Picture(name, FIGURES[name], Results.of(results))


def save(picture: Picture, write: Callable[[str, bytes], None], form: Form = DEFAULT) -> list[str]:
    """Render a figure and pass its files to ``write(file, content)``: ``NAME.csv``, ``.png`` and ``.pdf``.

    Returns their names. Nothing is written unless all three were rendered.

    Raises:
        ValueError: There is nothing to show.
    """
    files = {f"{picture.name}.csv": to_csv(picture.table())}
    made = export.to_bytes(picture.draw(form), "png", "pdf")
    files |= {f"{picture.name}.{kind}": content for kind, content in made.items()}
    for file, content in files.items():
        write(file, content)
    return list(files)
