"""Values of a trial that follow from its columns and its layers."""

from __future__ import annotations

import pandas as pd


def with_total_flops(trials: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with ``total_flops``: of training and of all prerequisite trials; NaN where the latter are unknown."""
    return trials.assign(total_flops=trials["train_flops"] + trials["prerequisite_flops"])


def shallow_minus_deep_density(layers: pd.DataFrame) -> pd.Series:
    """Mean density of the first third of the convolutions minus that of the last third, by trial; in [-1, 1].

    Of a network with fewer than two convolutions, such as a vision transformer, all maskable layers count. Thirds of
    their number, rounded, at least one; NaN where there are fewer than two.
    """
    is_conv = layers["kind"] == "conv"
    convolutional = is_conv.groupby(layers["trial"]).transform("sum") > 1
    counted = layers[is_conv | ~convolutional]
    place = counted.groupby("trial")["position"].rank(method="first")
    count = counted.groupby("trial")["position"].transform("size")
    third = (count / 3).round().clip(lower=1)
    shallow = counted[place <= third].groupby("trial")["density"].mean()
    deep = counted[(place > count - third) & (count > 1)].groupby("trial")["density"].mean()
    return shallow - deep


def is_shortcut(layers: pd.DataFrame) -> pd.Series:
    """bool for each row of ``layers``: whether it lies beside the path from layer to layer, as a residual's projection.

    By the name of its module: ours and torchvision's.
    """
    return layers["layer"].str.contains(r"(?:^|\.)(?:shortcut|downsample)\.", regex=True)
