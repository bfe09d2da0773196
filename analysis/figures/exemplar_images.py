"""Test images that pruning changes: examples of pruning-identified exemplars (Hooker et al., 2019, arXiv 1911.05248).

A row is a method at one sparsity, the one nearest to ``sparsity`` that was run. Of each setting, the comparison with
the least training data is shown. An exemplar is a test image whose usual prediction (mode over seeds) differs between
dense and the method; their share of the test images is at the left. The images on whose predictions most seeds agree
come first. Below an image stand the usual prediction of dense, that of the method, and the label; a class whose name is
too long, or that no installed font can write, is shown by its number. A dagger marks a method with under-trained
networks, dense included. Images are those of the test set as stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from sparsweep.analysis.example_images import TestImages, dataset_json
from sparsweep.analysis.figures import fonts, labels, layout, style
from sparsweep.analysis.figures.export import NotebookFigure
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.figures.outcome_tables import Outcomes, table_of_test
from sparsweep.analysis.groups import ARM_KEYS, METHOD_KEYS, SETTING_KEYS
from sparsweep.analysis.naming import setting_titles
from sparsweep.analysis.outcomes.exemplars import exemplar_shares, exemplars
from sparsweep.analysis.outcomes.pairing import SAMPLE_KEYS

EACH = 6
"""Number of images per method."""

_IMAGE, _NAMES, _CAPTION = 0.66, 0.95, 0.4  # inches
_HEAD, _KEY = 0.35, 0.3
_TITLE, _NAME, _CLASS = 9.0, 8.0, 6.0  # points
_TITLE_LINE = 0.16
_LINES = ("dense_mode", "sparse_mode", "label")
_SAID = "below: dense, method, label"


def table(
    trials: pd.DataFrame, outcomes: Outcomes, images: Mapping[str, TestImages] | None = None, sparsity: float = 0.8
) -> pd.DataFrame:
    """Return one row per image shown: the arm, ``rank`` (from 0), ``sample``, ``label``.

    ``dense_mode``, ``sparse_mode``: usual predictions. ``dense_agreement``, ``sparse_agreement``: share of seeds that
    predict them. ``share``: of the test images that are exemplars. ``n``, ``dense_n``: seeds. ``undertrained``: number
    of both. ``images`` are not needed.

    Raises:
        ValueError: No trial has per-sample outcomes, no sparse arm has a dense one, or there is no exemplar.
    """
    shares = table_of_test(exemplar_shares, trials, outcomes, sparsity)
    least = shares.groupby(list(SETTING_KEYS), dropna=False)["data_ratio"].transform("min")
    found = table_of_test(exemplars, trials, outcomes, sparsity)
    agreed = found.assign(sure=-(found["dense_agreement"] + found["sparse_agreement"]))
    order = agreed.sort_values([*SAMPLE_KEYS, "sure", "sample"]).drop(columns="sure")
    order = order.assign(rank=order.groupby(list(SAMPLE_KEYS)).cumcount())
    kept = ["n", "dense_n", "undertrained", "share"]
    shown = shares.loc[shares["data_ratio"] == least, [*ARM_KEYS, "comparison", *kept]]
    shown = shown.merge(order[order["rank"] < EACH], on=list(SAMPLE_KEYS)).drop(columns="comparison")
    if shown.empty:
        raise ValueError("no test image is an exemplar: the usual predictions of all methods equal those of dense")
    return shown.sort_values([*ARM_KEYS, "rank"], ignore_index=True)


def wanted(trials: pd.DataFrame, outcomes: Outcomes, sparsity: float = 0.8) -> dict[str, np.ndarray]:
    """Return the samples shown, int (n,) ascending, by JSON of the data set: the input of ``load_test_images``.

    Empty if there is nothing to show.
    """
    try:
        shown = table(trials, outcomes, None, sparsity)
    except ValueError:
        return {}
    return {key: np.unique(rows["sample"]) for key, rows in shown.groupby(_datasets(shown))}


def draw(
    trials: pd.DataFrame,
    outcomes: Outcomes,
    images: Mapping[str, TestImages],
    sparsity: float = 0.8,
    form: Form = DEFAULT,
) -> Figure:
    """Draw :func:`table`, without global state. Raises ValueError also if no data set has ``images``."""
    rows = table(trials, outcomes, images, sparsity)
    rows = rows.assign(images=_datasets(rows))
    rows = rows[rows["images"].isin(list(images))]
    if rows.empty:
        raise ValueError("no test images: the data set of these trials is missing")
    width = form.width or _NAMES + EACH * _IMAGE + 0.1
    groups = [(str(title), group) for title, group in rows.groupby(setting_titles(rows))]
    titles = [labels.wrap(f"{_title(title, group)} ({_SAID})", width - 0.2, _TITLE + 0.5) for title, group in groups]
    image = (width - _NAMES - 0.1) / EACH
    heads = [_HEAD + _TITLE_LINE * title.count("\n") for title in titles]
    heights = [h + (image + _CAPTION) * _count(group) for h, (_, group) in zip(heads, groups, strict=True)]
    keys = _keys(rows)
    room = [_KEY] if keys else []
    names = labels.methods(rows)
    with style.context():
        figure = NotebookFigure(figsize=(width, sum(heights + room)))
        parts: Any = figure.subfigures(len(heights + room), 1, height_ratios=heights + room, squeeze=False)[:, 0]
        for (_, group), part, title, head, height in zip(groups, parts, titles, heads, heights, strict=False):
            part.suptitle(title, fontsize=_TITLE, y=1 - 0.06 / height)
            _draw_group(part, group, images, names, (width, height, head, image))
        if keys:
            parts[-1].legend(handles=keys, loc="center", frameon=False)
        fonts.fit(figure)
    return figure


def _datasets(rows: pd.DataFrame) -> pd.Series:
    """Return the JSON of the data set of each row."""
    pairs = zip(rows["dataset"], rows["dataset_parameters"], strict=True)
    return pd.Series([dataset_json(*pair) for pair in pairs], index=rows.index)


def _title(title: str, group: pd.DataFrame) -> str:
    ratio = group["data_ratio"].iloc[0]
    return title if ratio == 1 else f"{title}, data ratio {ratio:g}"


def _count(group: pd.DataFrame) -> int:
    return len(group[[*METHOD_KEYS, "sparsity"]].drop_duplicates())


def _keys(rows: pd.DataFrame) -> list[Any]:
    """Return the legend entry of under-trained networks, each arm counted once."""
    arms = rows[rows["rank"] == 0]
    return layout.undertrained_key(arms.assign(n=arms["n"] + arms["dense_n"]), dagger=True)


def _draw_group(
    part: SubFigure,
    group: pd.DataFrame,
    images: Mapping[str, TestImages],
    methods: layout.Methods,
    sizes: tuple[float, float, float, float],
) -> None:
    """Draw one row per method. ``sizes`` in inches: width, height, the height above the images, an image."""
    width, height, head, image = sizes
    arms = {key: rows for key, rows in group.groupby([*METHOD_KEYS, "sparsity"])}
    order = [key for method in methods for key in arms if key[:2] == method]
    for number, key in enumerate(order):
        top = height - head - number * (image + _CAPTION)
        first = arms[key].iloc[0]
        name = methods[key[:2]][0] + (style.DAGGER if first["undertrained"] else "")
        seeds = labels.seeds(pd.Series([first["n"], first["dense_n"]]))
        text = [*labels.wrap(name, _NAMES - 0.1, _NAME).splitlines()[:2], f"sparsity {key[2]:.4g}"]
        text += [f"{100 * first['share']:.1f} % differ", seeds]
        part.text(0.06 / width, (top - image / 2) / height, "\n".join(text), va="center", fontsize=_NAME - 1)
        for row in arms[key].to_dict("records"):
            left = _NAMES + row["rank"] * image
            place = (left / width, (top - image) / height, 0.92 * image / width, 0.92 * image / height)
            axes = part.add_axes(place)
            source = images[row["images"]]
            pixels = source.images[int(np.searchsorted(source.samples, row["sample"]))]
            axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#c4c4c4", linewidth=0.5)
            caption = "\n".join(_called(source.class_names, row[name], 0.9 * image) for name in _LINES)
            axes.set_xlabel(caption, fontsize=_CLASS, labelpad=2, color=style.MUTED)


def _called(names: tuple[str, ...], label: int, width: float) -> str:
    """Return the name of a class if it can be written within ``width`` inches, else its number."""
    name = names[label].replace("_", " ") if label < len(names) else ""
    fits = name and not fonts.lacking(name) and labels.inches(name, _CLASS) <= width
    return name if fits else str(label)
