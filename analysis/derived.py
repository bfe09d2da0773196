"""Values of a trial that follow from its columns and its layers."""

from __future__ import annotations

import pandas as pd


def with_total_flops(trials: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with ``total_flops``: of training and of all prerequisite trials; NaN where the latter are unknown."""
    return trials.assign(total_flops=trials["train_flops"] + trials["prerequisite_flops"])


def depth_contrast(layers: pd.DataFrame) -> pd.Series:
    """Mean density of the first third of the convolutions minus that of the last third, by trial; in [-1, 1].

    Thirds of the number of convolutions, rounded, at least one; NaN where there are fewer than two.
    """
    convolutions = layers[layers["kind"] == "conv"]
    place = convolutions.groupby("trial")["position"].rank(method="first")
    count = convolutions.groupby("trial")["position"].transform("size")
    third = (count / 3).round().clip(lower=1)
    shallow = convolutions[place <= third].groupby("trial")["density"].mean()
    deep = convolutions[(place > count - third) & (count > 1)].groupby("trial")["density"].mean()
    return shallow - deep
