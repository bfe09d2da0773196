"""Test accuracy of methods and their variants, one bar each: the form of Figures 8 a/b, 13 and 14 of the paper.

Xiao et al., BMVC 2024, section 4 and appendix E (there: OMP-ERK, random ERK and uniform masks beside the five methods).
Each panel is one comparison at one sparsity, the one nearest to ``sparsity`` that was run. A bar goes from the accuracy
of dense (the line; its band is one standard deviation) to the mean of the method. So its length is the difference to
dense, and the axis still shows accuracy. Without dense trials, bars start at 0. Dots are seeds. The whisker is one
sample standard deviation to each side, or the mean's 95 % interval. A star marks a significant paired difference to
dense (two-sided t-test, Holm's correction over all bars of the figure, 0.05). A dagger marks a method with
under-trained networks. A hatched gray place is a planned method that is not finished at this sparsity.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sparsweep.analysis.figures import labels, layout, marks, style
from sparsweep.analysis.figures.accuracy_vs_sparsity import draw_dense_line
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.groups import (
    ARM_KEYS,
    DENSE,
    METHOD_KEYS,
    at_nearest_sparsity,
    fill_methods,
    grid,
    paired_differences,
    replicates,
    summarise,
)

_BAR = 0.42  # inches
_TESTED = {"mean": "difference_points", "low": "low_points", "high": "high_points"}


def table(trials: pd.DataFrame, sparsity: float = 0.8, asked: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per bar: the arm, ``n`` seeds, ``accuracy_percent`` (mean), ``std_percent`` (ddof=1), and tests.

    ``interval_percent``: half of the mean's 95 % interval. ``difference_points`` with its 95 % interval ``low_points``,
    ``high_points``, ``p`` and ``p_holm`` (NaN without pairs), ``significant``. Missing methods, of ``asked`` or of the
    grid of ``trials``, have ``n`` = 0.

    Raises:
        ValueError: No sparse trial has finished.
    """
    known = at_nearest_sparsity(replicates(trials), sparsity)
    if not (known["sparsifier"] != DENSE).any():
        raise ValueError("no finished sparse trial: there is no method to compare")
    summary = summarise(known)
    names = {"accuracy_percent": "mean", "std_percent": "std", "interval_percent": "interval"}
    summary = summary.assign(**{new: 100 * summary[old] for new, old in names.items()})
    bars = fill_methods(summary.drop(columns=list(names.values())), grid(trials) if asked is None else asked)
    tested = paired_differences(known)
    for old, new in _TESTED.items():
        tested[new] = 100 * tested[old]
    tested = tested[[*ARM_KEYS, *_TESTED.values(), "p", "p_holm", "significant"]]
    whole = bars.merge(tested, how="left", on=list(ARM_KEYS))
    return whole.assign(significant=whole["significant"].eq(True)).sort_values(list(ARM_KEYS), ignore_index=True)


def draw(
    trials: pd.DataFrame, sparsity: float = 0.8, asked: pd.DataFrame | None = None, form: Form = DEFAULT
) -> Figure:
    """Draw :func:`table`, without global state."""
    bars = table(trials, sparsity, asked)
    seeds = replicates(trials)[[*ARM_KEYS, "seed", "test_accuracy"]]
    methods = bars[list(METHOD_KEYS)].drop_duplicates()
    width = max(layout.PANEL[0], _BAR * (len(methods) + 1))
    size = (min(width, form.width or width), layout.PANEL[1] + 0.5)
    names = labels.methods(bars)

    def paint(axes: Axes, panel: pd.DataFrame, _: layout.Methods) -> None:
        _paint(axes, panel, names, panel[list(ARM_KEYS)].merge(seeds, on=list(ARM_KEYS)), form)

    by = ["data_ratio", "at_sparsity"]
    figure = layout.panels(bars, by, paint, "", "test accuracy (%)", size, form, families=False)
    _add_legend(figure, bars, form)
    return figure


def _paint(axes: Axes, panel: pd.DataFrame, methods: layout.Methods, seeds: pd.DataFrame, form: Form) -> None:
    dense = panel[panel["sparsifier"] == DENSE]
    base = 0.0 if dense.empty else float(dense["accuracy_percent"].iloc[0])
    if len(dense):
        draw_dense_line(axes, base, float(form.half(dense).iloc[0]))
    found = {key: bars.iloc[0] for key, bars in panel.groupby(list(METHOD_KEYS)) if key[0] != DENSE}
    order = [key for key in methods if key in found]
    for place, key in enumerate(order):
        bar, looks = found[key], style.line(str(key[0]), methods[key][1])
        if bar["n"] == 0:
            axes.axvspan(place - 0.4, place + 0.4, zorder=0.4, **style.MISSING)
            continue
        hatch = "////" if methods[key][1] else None
        mean, half = float(bar["accuracy_percent"]), float(form.half(panel.loc[[bar.name]]).iloc[0])
        height = mean - base
        axes.bar(
            place, height, 0.72, base, color=looks["color"], alpha=0.75, hatch=hatch, edgecolor="white", zorder=1.2
        )
        own = 100 * seeds.loc[(seeds[list(METHOD_KEYS)] == list(key)).all(axis=1), "test_accuracy"]
        axes.plot(np.full(len(own), place), own, "o", color="black", markersize=2.2, zorder=4, linestyle="none")
        if not math.isnan(half):
            axes.errorbar(place, mean, yerr=half, color="black", elinewidth=0.8, capsize=3, zorder=3)
        if bar["significant"]:
            _star(axes, place, height, [mean, *own] if math.isnan(half) else [mean - half, mean + half, *own])
    names = [methods[key][0] + (style.DAGGER if found[key]["undertrained"] else "") for key in order]
    layout.name_places(axes, names, marks.breadth(axes))
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.14)
    marks.note(axes, marks.spread_note(panel["n"]))
    if dense.empty:
        axes.set_xlabel("no dense trials: bars from 0", fontsize=8, color=style.MUTED)


def _star(axes: Axes, place: float, height: float, drawn: list[float]) -> None:
    """Draw a star beyond the end of a bar of ``height`` and of everything ``drawn`` on it."""
    end, offset, side = (min(drawn), -3, "top") if height < 0 else (max(drawn), 3, "bottom")
    axes.annotate("★", (place, end), (0, offset), textcoords="offset points", ha="center", va=side, fontsize=8)


def _add_legend(figure: Figure, bars: pd.DataFrame, form: Form) -> None:
    """Add the meaning of the marks. Methods are named below their bars."""
    sparse = bars[(bars["sparsifier"] != DENSE) & (bars["n"] > 0)]
    with style.context():
        handles: list[Artist] = [
            Line2D([], [], color="black", marker="o", linestyle="none", markersize=2.5, label="a seed")
        ]
        if (bars["sparsifier"] == DENSE).any():
            handles.insert(0, Line2D([], [], label="dense", **style.line(DENSE)))
        if (bars["n"] > 1).any():
            handles.append(Line2D([], [], color="black", marker="|", linestyle="none", markersize=9, label="spread"))
        if (bars["n"] == 0).any():
            handles.append(Patch(label="missing", **style.MISSING))
        handles += layout.undertrained_key(bars, dagger=True)
        said = [f"spread: ± {form.said}"] if (bars["n"] > 1).any() else []
        if tests := int(bars["p"].notna().sum()):
            handles.append(layout.glyph_key("★", "differs from dense"))
            said.append(f"star: paired by seed, t-test, {marks.corrected(tests, len(sparse), 'bars')}")
    layout.add_legend(figure, handles, "; ".join(said) or None, form)
