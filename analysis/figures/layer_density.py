"""Density of each convolution, a line a method: the form of Figures 7, 11 and 12 of the paper.

Xiao et al., BMVC 2024, section 4.2. Each panel is one comparison at one sparsity, the one nearest to ``sparsity`` that
was run in it. A marker is the mean over seeds of a convolution's density at the end of training, its bar one
sample standard deviation to each side; markers of one layer are set a little apart, since methods with the same
distribution of densities (SET, random ERK, OMP-ERK) lie on each other. The dotted line is the density of the whole
network. A method that was run in the setting, but not here, is named.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.arms import ARM, DENSE, METHOD, complete_methods, near_sparsity, replicates, summarise
from analysis.figures import labels, layout, style
from analysis.figures.accuracy_vs_sparsity import beside

_MOST_TICKS = 12


def table(trials: pd.DataFrame, layers: pd.DataFrame, sparsity: float = 0.8) -> pd.DataFrame:
    """A row a method and convolution: the arm, ``convolution`` (from 1), ``layer``, ``n`` seeds, ``density``, ``std``.

    ``density``: mean over seeds, in [0, 1]; ``std``: ddof=1, NaN if n = 1. A method that is missing has one row with
    ``n`` = 0. ValueError without the layers of any finished sparse trial.
    """
    chosen = near_sparsity(replicates(trials), sparsity)
    chosen = chosen[chosen["sparsifier"] != DENSE]
    convolutions = layers[(layers["kind"] == "conv") & layers["trial"].isin(chosen["trial"])]
    if convolutions.empty:
        raise ValueError("no finished sparse trial with layers: results/layers has no convolutions of these trials")
    number = convolutions.groupby("trial")["position"].rank(method="first").astype(int)
    joined = chosen[["trial", *ARM]].merge(convolutions.assign(convolution=number), on="trial", suffixes=("", "_layer"))
    keys = [*ARM, "convolution", "layer"]
    densities = joined.groupby(keys, dropna=False)["density"].agg(n="count", density="mean", std="std").reset_index()
    arms = complete_methods(summarise(chosen)[[*ARM, "n"]], trials)
    whole = arms.drop(columns="n").merge(densities, how="left", on=list(ARM))
    whole = whole.assign(n=whole["n"].fillna(0).astype(int))
    return whole.sort_values([*ARM, "convolution"], ignore_index=True)


def draw(trials: pd.DataFrame, layers: pd.DataFrame, sparsity: float = 0.8) -> Figure:
    """The picture of :func:`table`, drawn without global state."""
    points = table(trials, layers, sparsity)
    size = (4.6, layout.PANEL[1])
    xlabel = "convolution, from input to output"
    figure = layout.panels(points, ["data_ratio", "at_sparsity"], _paint, xlabel, "density", size)
    spread = "mean ± standard deviation over seeds" if (points["n"] > 1).any() else None
    layout.legend(figure, labels.methods(points), spread)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
    depth = int(panel["convolution"].max())
    shifts = beside(np.arange(1.0, depth + 1), list(methods))
    missing, shown = [], []
    for key, points in panel.groupby(list(METHOD)):
        label, variant = methods[key]
        if not points["n"].any():
            missing.append(label)
            continue
        spread = points["std"].to_numpy() if (points["n"] > 1).any() else None
        place = points["convolution"].to_numpy() + shifts[key]
        looks = style.line(str(key[0]), variant)
        axes.errorbar(
            place, points["density"].to_numpy(), yerr=spread, label=label, elinewidth=0.8, capsize=1.5, **looks
        )
        last = points.iloc[-1]
        shown.append(layout.Point(place[-1], last["density"], last["n"], looks["color"]))
    axes.axhline(1 - float(panel["at_sparsity"].iloc[0]), color=style.MUTED, linestyle=":", linewidth=1, zorder=0.6)
    ticks = np.arange(1, depth + 1, max(1, -(-depth // _MOST_TICKS)))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(bottom=0)
    layout.count_seeds(axes, shown)
    axes.grid(axis="x", visible=False)
    if missing:
        text = f"missing: {', '.join(missing)}"
        axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=8, color=style.MUTED)
