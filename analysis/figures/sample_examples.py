"""The hardest and easiest training images per class: the form of Figure 1 of the paper.

Xiao et al., BMVC 2024 (there: apples and buses of CIFAR-100 with the highest and lowest EL2N, five each). A row is a
class. Below an image stands its score: the mean over the scoring runs (their number is in the title) and its standard
deviation. Images are those of the training set as stored, before augmentation. A class whose name no installed font
can write is shown by its number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from sparsweep.analysis.example_images import ENDS, SAMPLES
from sparsweep.analysis.figures import fonts, labels, style
from sparsweep.analysis.figures.export import NotebookFigure
from sparsweep.analysis.figures.form import DEFAULT, Form
from sparsweep.analysis.naming import DIFFICULTIES

_IMAGE, _CAPTION, _GAP = 0.62, 0.16, 0.3  # inches
_NAMES = 0.8  # of the column of class names
_HEAD, _TITLE_LINE = 0.5, 0.17
_TITLE, _NAME, _SCORE = 9.5, 8.0, 6.0  # points
_NARROWEST = 3.4


def table(samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image, as ``analysis.example_images.SAMPLES`` without pixels.

    Raises ValueError without any image.
    """
    if samples.empty:
        raise ValueError("no scores with images: no scoring run of these trials left any, or the data set is missing")
    return samples[[name for name in SAMPLES if name != "image"]].reset_index(drop=True)


@dataclass(frozen=True)
class _Sizes:
    """Sizes of a part in inches: its width, the edge of images, the height above them; and images per side."""

    width: float
    image: float
    head: float
    each: int

    def left(self, side: int, rank: int) -> float:
        """Return the left edge of an image. ``side``: 0 for the hardest, 1 for the easiest."""
        return _NAMES + side * (self.each * self.image + _GAP) + rank * self.image


def draw(samples: pd.DataFrame, form: Form = DEFAULT) -> Figure:
    """Draw ``samples`` (columns SAMPLES), without global state."""
    table(samples)
    groups = list(samples.groupby(["dataset", "name"], sort=True))
    each = int(samples["rank"].max()) + 1
    width = form.width or max(_NAMES + 2 * each * _IMAGE + _GAP, _NARROWEST)
    image = min(_IMAGE, (width - _NAMES - _GAP) / (2 * each))
    titles = [
        labels.wrap(_title(str(dataset), str(name), group), width - 0.2, _TITLE) for (dataset, name), group in groups
    ]
    heads = [_HEAD + _TITLE_LINE * len(title.splitlines()) for title in titles]
    heights = [
        head + (image + _CAPTION) * group["label"].nunique() for head, (_, group) in zip(heads, groups, strict=True)
    ]
    with style.context():
        figure = NotebookFigure(figsize=(width, sum(heights)))
        parts: Any = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
        for (_, group), part, title, head, height in zip(groups, parts, titles, heads, heights, strict=True):
            _draw_group(part, group, _Sizes(width, image, head, each), height)
            part.suptitle(title, fontsize=_TITLE, y=1 - 0.08 / height)
        fonts.fit(figure)
    return figure


def _title(dataset: str, name: str, group: pd.DataFrame) -> str:
    runs = int(group["n"].max())
    mean = f"mean ± standard deviation, n = {runs} networks" if runs > 1 else "one network, no spread"
    return f"{dataset}: training images by {DIFFICULTIES.get(name, name)} ({mean})"


def _draw_group(part: SubFigure, group: pd.DataFrame, sizes: _Sizes, height: float) -> None:
    """Draw rows of classes, the hardest at the left and the easiest at the right. ``height``: in inches."""
    size = min(_SCORE, _SCORE * 0.95 * sizes.image / labels.inches("0.00 ± 0.00", _SCORE))
    for row, (label, images) in enumerate(group.groupby("label")):
        top = height - sizes.head - row * (sizes.image + _CAPTION)
        called = _called(str(images["class_name"].iloc[0]), int(str(label)))
        part.text(0.06 / sizes.width, (top - sizes.image / 2) / height, called, va="center", fontsize=_NAME)
        for image in images.to_dict("records"):
            side = ENDS.index(image["end"])
            place = (
                sizes.left(side, image["rank"]) / sizes.width,
                (top - sizes.image) / height,
                0.92 * sizes.image / sizes.width,
                0.92 * sizes.image / height,
            )
            axes = part.add_axes(place)
            pixels = np.asarray(image["image"])
            axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#c4c4c4", linewidth=0.5)  # a white image has an edge too
            spread = "" if math.isnan(image["std"]) else f" ± {image['std']:.2f}"
            text = f"{image['score']:.2f}{spread}"
            axes.set_title(text, fontsize=size, y=0, pad=-8, color=style.MUTED)
    for side, end in enumerate(ENDS):
        middle = (sizes.left(side, 0) + sizes.left(side, sizes.each)) / 2
        part.text(middle / sizes.width, 1 - (sizes.head - 0.12) / height, end, ha="center", fontsize=8.5)


def _called(name: str, label: int) -> str:
    """Return a class name in at most three lines that fit the margin; its number if no font can write it."""
    if fonts.lacking(name):
        return f"class {label}"
    lines = labels.wrap(name.replace("_", " "), _NAMES - 0.12, _NAME).splitlines()
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][:-1]}…"])
