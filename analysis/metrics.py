"""Derived values of trials: total FLOPs, density by depth."""

from __future__ import annotations

import pandas as pd


def with_total_flops(trials: pd.DataFrame) -> pd.DataFrame:
    """Return ``trials`` with ``total_flops``: training and all prerequisite trials. NaN if the latter are unknown."""
    return trials.assign(total_flops=trials["train_flops"] + trials["prerequisite_flops"])


def shallow_minus_deep_density(layers: pd.DataFrame) -> pd.Series:
    """Return the mean density of the first third of convolutions minus that of the last third, per trial, in [-1, 1].

    For a network with fewer than two convolutions, such as a vision transformer, all maskable layers count. A third is
    rounded and at least one layer. NaN if there are fewer than two layers.
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
    """Return a bool per row of ``layers``: whether it is a shortcut projection, by its module's name."""
    return layers["layer"].str.contains(r"(?:^|\.)(?:shortcut|downsample)\.", regex=True)
