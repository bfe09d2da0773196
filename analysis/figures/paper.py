"""Figures of the paper: the type and the trials of each.

Xiao et al., BMVC 2024, Figures 1 to 8 and, in the appendix, 9 to 14. A figure shows the trials that match one of its
panels. A sweep whose trials match none (``sparsweep run fig2 --set dataset=digits``) is drawn completely in the same
form, and its title says that these are not the paper's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sparsweep.analysis.filters import TrialFilter
from sparsweep.analysis.groups import DENSE


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper: ``number``, ``part`` (8 has two types), ``kind`` (a name in FIGURES) and ``panels``."""

    number: int
    kind: str
    panels: tuple[TrialFilter, ...] = ()
    part: str = ""

    @property
    def name(self) -> str:
        """Name of its files, such as ``fig02_accuracy_vs_sparsity``."""
        return f"fig{self.number:02}{self.part}_{self.kind}"

    @property
    def title(self) -> str:
        """Title above the figure."""
        return f"Figure {self.number} {', '.join(self.part)}".rstrip() + " of the paper"

    def match(self, trials: pd.DataFrame) -> pd.Series:
        """Return a bool per row of ``trials``: whether a panel shows it."""
        found = pd.Series(False, index=trials.index)
        for panel in self.panels:
            found |= panel.match(trials)
        return found

    def missing(self, trials: pd.DataFrame) -> list[TrialFilter]:
        """Return the panels without a sparse trial in ``trials``."""
        sparse = trials[trials["sparsifier"] != DENSE]
        return [panel for panel in self.panels if not panel.match(sparse).any()]


Data = Mapping[str, str]
_CIFAR: Data = {"dataset": "cifar100", "model": "resnet18"}
_TINY: Data = {"dataset": "tinyimagenet", "model": "resnet34"}
_VGG: Data = {"dataset": "cifar100", "model": "vgg19"}
_SMALL: Data = {"dataset": "cifar10", "model": "vgg16"}


def _hard(data: Data, **fields: Any) -> TrialFilter:
    return TrialFilter.model_validate({**data, "difficulty": "el2n", **fields})


def _corrupted(data: Data, ratio: float, severity: int = 5, **fields: Any) -> TrialFilter:
    shared = {"difficulty": "corruption", "severity": severity, "data_ratio": ratio}
    return TrialFilter.model_validate({**data, **shared, **fields})


def _attacked(sparsity: float) -> tuple[TrialFilter, ...]:
    shared = {"difficulty": "adversarial", "sparsity": sparsity}
    settings = [{**data, "data_ratio": ratio} for ratio in (1.0, 0.5) for data in (_SMALL, _CIFAR)]
    return tuple(TrialFilter.model_validate({**shared, **setting}) for setting in settings)


PAPER: tuple[PaperFigure, ...] = (
    PaperFigure(1, "sample_examples"),
    PaperFigure(
        2,
        "accuracy_vs_sparsity",
        tuple(_hard(data, data_ratio=ratio) for ratio in (0.5, 0.3) for data in (_CIFAR, _TINY)),
    ),
    PaperFigure(3, "ratio_heatmap", (_hard(_CIFAR, sparsifier="set"),)),
    PaperFigure(
        4, "accuracy_vs_sparsity", tuple(_corrupted(data, ratio) for ratio in (1.0, 0.3) for data in (_CIFAR, _TINY))
    ),
    PaperFigure(5, "accuracy_vs_sparsity", (_corrupted(_VGG, 1.0), _corrupted(_VGG, 0.3))),
    PaperFigure(6, "clean_vs_robust", _attacked(0.9)),
    PaperFigure(7, "layer_density", (_hard(_CIFAR, data_ratio=0.3, sparsity=0.8), _corrupted(_VGG, 0.3, sparsity=0.8))),
    PaperFigure(
        8, "variant_bars", (_hard(_CIFAR, data_ratio=0.3, sparsity=0.8), _corrupted(_CIFAR, 0.3, sparsity=0.8)), "ab"
    ),
    PaperFigure(8, "accuracy_vs_flops", (_hard(_CIFAR, data_ratio=0.3), _corrupted(_CIFAR, 0.3)), "cd"),
    PaperFigure(9, "accuracy_vs_sparsity", tuple(_corrupted(_CIFAR, 0.3, severity) for severity in (2, 4, 6))),
    PaperFigure(10, "clean_vs_robust", _attacked(0.8)),
    PaperFigure(
        11, "layer_density", (_hard(_CIFAR, data_ratio=0.5, sparsity=0.8), _corrupted(_VGG, 1.0, sparsity=0.8))
    ),
    PaperFigure(
        12, "layer_density", (_hard(_TINY, data_ratio=0.3, sparsity=0.8), _corrupted(_TINY, 0.3, sparsity=0.8))
    ),
    PaperFigure(
        13, "variant_bars", (_hard(_TINY, data_ratio=1.0, sparsity=0.8), _hard(_TINY, data_ratio=0.3, sparsity=0.7))
    ),
    PaperFigure(14, "variant_bars", (_corrupted(_TINY, 1.0, sparsity=0.8), _corrupted(_TINY, 0.3, sparsity=0.7))),
)


def named(sweeps: Iterable[str]) -> list[PaperFigure]:
    """Return the paper's figures for sweep names: ``fig2`` for Figure 2, ``paper`` for all."""
    names = set(sweeps)
    return [figure for figure in PAPER if f"fig{figure.number}" in names or "paper" in names]
