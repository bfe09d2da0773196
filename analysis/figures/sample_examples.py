"""The hardest and the easiest training images of each class: the form of Figure 1 of the paper.

Xiao et al., BMVC 2024 (there: apples and buses of CIFAR-100 with the highest and the lowest EL2N, five each). A row is
a class; beneath an image stands its score, the mean over the scoring runs, of which the title tells the number, and its
standard deviation over them. Images are those of the training set as stored, before augmentation.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.figures import style
from analysis.samples import ENDS, SAMPLES
from analysis.titles import DIFFICULTIES

_IMAGE, _CAPTION, _GAP = 0.62, 0.16, 0.3  # inches
_HEAD = 0.75
_LETTERS = 10


def table(samples: pd.DataFrame) -> pd.DataFrame:
    """A row an image, as ``analysis.samples.SAMPLES`` but without the pixels. ValueError without any image."""
    if samples.empty:
        raise ValueError("no scores with images: no scoring run of these trials left any, or the data set is missing")
    return samples[[name for name in SAMPLES if name != "image"]].reset_index(drop=True)


def draw(samples: pd.DataFrame) -> Figure:
    """The picture of ``samples`` (columns of ``analysis.samples.SAMPLES``), drawn without global state."""
    table(samples)
    groups = list(samples.groupby(["dataset", "name"], sort=True))
    each = int(samples["rank"].max()) + 1
    heights = [_HEAD + (_IMAGE + _CAPTION) * group["label"].nunique() for _, group in groups]
    width = 0.7 + 2 * each * _IMAGE + _GAP
    with style.context():
        figure = Figure(figsize=(width, sum(heights)))
        parts: Any = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
        for ((dataset, name), group), part, height in zip(groups, parts, heights, strict=True):
            _draw_group(part, group, each, (width, height))
            runs = int(group["n"].max())
            score = DIFFICULTIES.get(str(name), str(name))
            mean = f"mean ± standard deviation, n = {runs} networks" if runs > 1 else "one network, no spread"
            part.suptitle(f"{dataset}: training images by {score} ({mean})", fontsize=9.5, y=1 - 0.13 / height)
    return figure


def _draw_group(part: SubFigure, group: pd.DataFrame, each: int, size: tuple[float, float]) -> None:
    """Rows of classes; at the left the hardest, at the right the easiest. ``size``: in inches."""
    width, height = size
    for row, (_, images) in enumerate(group.groupby("label")):
        top = height - _HEAD - row * (_IMAGE + _CAPTION)
        part.text(0.08 / width, (top - _IMAGE / 2) / height, _called(images), va="center", fontsize=8)
        for image in images.to_dict("records"):
            side = ENDS.index(image["end"])
            left = 0.65 + side * (each * _IMAGE + _GAP) + image["rank"] * _IMAGE
            place = (left / width, (top - _IMAGE) / height, 0.92 * _IMAGE / width, 0.92 * _IMAGE / height)
            axes = part.add_axes(place)
            pixels = np.asarray(image["image"])
            axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#c4c4c4", linewidth=0.5)  # a white image has an edge too
            spread = "" if math.isnan(image["std"]) else f" ± {image['std']:.2f}"
            axes.set_title(f"{image['score']:.2f}{spread}", fontsize=6, y=-0.3, color=style.MUTED)
    for side, end in enumerate(ENDS):
        middle = 0.65 + side * (each * _IMAGE + _GAP) + each * _IMAGE / 2
        part.text(middle / width, 1 - 0.5 / height, end, ha="center", fontsize=8.5)


def _called(images: pd.DataFrame) -> str:
    """The name of the images' class, in lines that the margin has room for."""
    name = str(images["class_name"].iloc[0]).replace("_", " ")
    return "\n".join(textwrap.wrap(name, width=_LETTERS))
