"""Density per maskable layer, one line per method: the form of Figures 7, 11 and 12 of the paper.

Xiao et al., BMVC 2024, section 4.2 (there: the convolutions). Each panel is one comparison at one sparsity, the one
nearest to ``sparsity`` that was run. A marker is the mean over seeds of a layer's density at the end of training. Its
bar is one sample standard deviation to each side, or the mean's 95 % interval. Lines follow the path through the
network. Shortcut projections lie beside this path, so their markers are not joined. Markers of one layer stand side by
side, since methods with the same distribution (SET, random ERK, OMP-ERK) would overlap. The dotted line is the density
of the whole network. Planned methods that are not finished at this sparsity are named.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.accuracy_vs_sparsity import dodge
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    DENSE,
    METHOD_KEYS,
    at_nearest_sparsity,
    fill_methods,
    grid,
    half_interval,
    replicates,
    summarise,
)
from sparsweep.analysis.metrics import is_shortcut

_NAME = 0.11  # inches along the axis that the name of a layer takes


def table(
    trials: pd.DataFrame, layers: pd.DataFrame, sparsity: float = 0.8, asked: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return one row per method and layer: the arm, ``number`` (from 1), ``layer``, ``kind``, ``n`` seeds, ``density``.

    ``density``: mean over seeds, in [0, 1]. ``std``: ddof=1, NaN if n = 1. ``interval``: half of the mean's 95 %
    interval. ``convolution``: number among the convolutions, from 1; NaN for other layers. ``shortcut``: whether it
    lies beside the path. A missing method, of ``asked`` or of the grid of ``trials``, has one row with ``n`` = 0.

    Raises:
        ValueError: No finished sparse trial has layers.
    """
    chosen = at_nearest_sparsity(replicates(trials), sparsity)
    chosen = chosen[chosen["sparsifier"] != DENSE]
    known = layers[layers["trial"].isin(chosen["trial"])].reset_index(drop=True)
    if known.empty:
        raise ValueError("no finished sparse trial with layers: results/layers has none of these trials")
    convolutions = known[known["kind"] == "conv"]
    known = known.assign(
        number=known.groupby("trial")["position"].rank(method="first").astype(int),
        convolution=convolutions.groupby("trial")["position"].rank(method="first"),
        shortcut=is_shortcut(known),
    )
    joined = chosen[["trial", *ARM_KEYS]].merge(known, on="trial", suffixes=("", "_layer"))
    keys = [*ARM_KEYS, "number", "layer", "kind", "convolution", "shortcut"]
    densities = joined.groupby(keys, dropna=False)["density"].agg(n="count", density="mean", std="std").reset_index()
    densities = densities.assign(interval=half_interval(densities["std"], densities["n"]))
    arms = fill_methods(summarise(chosen)[[*ARM_KEYS, "n"]], grid(trials) if asked is None else asked)
    whole = arms.drop(columns="n").merge(densities, how="left", on=list(ARM_KEYS))
    whole = whole.assign(n=whole["n"].fillna(0).astype(int))
    return whole.sort_values([*ARM_KEYS, "number"], ignore_index=True)


def draw(
    trials: pd.DataFrame,
    layers: pd.DataFrame,
    sparsity: float = 0.8,
    asked: pd.DataFrame | None = None,
    form: Form = DEFAULT,
) -> Figure:
    """Draw :func:`table`, without global state."""
    points = table(trials, layers, sparsity, asked)

    def paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods) -> None:
        _paint(axes, panel, methods, form)

    size = (4.6, layout.PANEL[1] + 0.3)
    figure = layout.panels(points, ["data_ratio", "at_sparsity"], paint, "", "density", size, form)
    said = [f"mean ± {form.said}"] if (points["n"] > 1).any() else []
    if points.loc[points["n"] > 0, list(METHOD_KEYS)].drop_duplicates().shape[0] > 1:
        said.append("methods of one layer side by side")
    layout.legend(figure, labels.methods(points), "; ".join(said) or None, form=form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, form: Form) -> None:
    there = panel[(panel["n"] > 0) & (panel["sparsifier"] != DENSE)]
    own = dict.fromkeys(there[list(METHOD_KEYS)].itertuples(index=False, name=None))
    depth = int(there["number"].max()) if len(there) else 0
    shifts = dodge(np.arange(1.0, depth + 1), [key for key in methods if key in own])
    for key, points in there.groupby(list(METHOD_KEYS)):
        label, variant = methods[key]
        looks = style.line(str(key[0]), variant)
        joined = points[~points["shortcut"].astype(bool)]
        apart = points[points["shortcut"].astype(bool)]
        _add(axes, joined, shifts[key], form, {**looks, "label": label})
        if len(apart):
            _add(axes, apart, shifts[key], form, {**looks, "label": "_", "linestyle": "none"})
    axes.axhline(1 - float(panel["at_sparsity"].iloc[0]), color=style.MUTED, linestyle=":", linewidth=1, zorder=0.6)
    names = there.drop_duplicates("number").set_index("number")["layer"].sort_index()
    _name_layers(axes, names)
    axes.set_ylim(bottom=0)
    marks.note(axes, marks.spread_note(there["n"]) if len(there) else "n = 0")
    axes.grid(axis="x", visible=False)
    missing = [methods[key][0] for key in methods if key in set(_keys(panel)) - set(own) and key[0] != DENSE]
    if missing:
        marks.remark(axes, f"missing: {', '.join(dict.fromkeys(missing))}")


def _keys(panel: pd.DataFrame) -> list[labels.Key]:
    return list(panel[list(METHOD_KEYS)].itertuples(index=False, name=None))


def _add(axes: Axes, points: pd.DataFrame, shift: float, form: Form, looks: dict[str, Any]) -> None:
    spread = points[form.spread].to_numpy() if (points["n"] > 1).any() else None
    place = points["number"].to_numpy() + shift
    axes.errorbar(place, points["density"].to_numpy(), yerr=spread, elinewidth=0.8, capsize=1.5, **looks)


def _name_layers(axes: Axes, names: pd.Series) -> None:
    """Write layer names below their positions in network order. If they are too many, every second, third, ..."""
    every = max(1, int(np.ceil(len(names) * _NAME / marks.breadth(axes))))
    shown = names.iloc[::every].str.removesuffix(".weight")
    axes.set_xticks(list(shown.index), list(shown), rotation=90, fontsize=6.5)
    axes.set_xlim(0.3, len(names) + 0.7)
