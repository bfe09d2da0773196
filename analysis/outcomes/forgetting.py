"""Whether networks that train on hard samples still learn the easy ones.

The test samples are split into thirds by the hardness that dense networks of a reference comparison give them. The
reference trains on an ordinary set: the whole training set or a random subset, if such dense trials exist. Then the
accuracy on easy samples can be compared between training sets of any difficulty and data ratio.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparsweep.analysis.groups import DATA_KEYS, DENSE
from sparsweep.analysis.naming import ALL_DATA, difficulty
from sparsweep.analysis.outcomes.hardness import accuracy_by_rank, cross_fit
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials, require_dense, summarise_groups

THIRDS = ("easiest", "middle", "hardest")
AT_HAND = "all dense trials"


def accuracy_by_third(matrix: OutcomeMatrix, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each arm on the easiest, middle and hardest third of the samples.

    The hardness for a seed comes from reference trials with other seeds, as in ``hardness``. The reference of a data
    set and network is, of the comparisons with two dense seeds, the one with the most training data; of equal ones a
    random subset comes first, then the one with more dense seeds. If no comparison is a random subset or has all data,
    all dense trials of the data set and network are the reference.

    Args:
        matrix: Outcomes of one split, usually ``test``.
        trials: Frame of ``load_trials``.

    Returns:
        One row per arm and ``third`` (one of THIRDS), with the columns of ``pairing.summarise_groups``, and
        ``reference``: the training set of the reference in words.

    Raises:
        ValueError: No trial has outcomes, none is dense, or no reference has two seeds.
    """
    rows = compared_trials(matrix, trials)
    require_dense(rows)
    values, references = np.full((len(rows), len(THIRDS)), np.nan), {}
    for key, part in rows.groupby(list(DATA_KEYS), dropna=False):
        dense, references[key] = _reference(part[part["sparsifier"] == DENSE])
        if dense["seed"].nunique() < 2:
            continue
        for seed, hardness in cross_fit(matrix, dense, part["seed"].unique()):
            places = part.index[part["seed"] == seed]
            values[places] = accuracy_by_rank(matrix, rows["row"].to_numpy()[places], hardness, len(THIRDS))
    if np.isnan(values).all():
        raise ValueError(
            "no two dense seeds of one reference have per-sample outcomes: hardness for a seed needs others"
        )
    found = summarise_groups(rows, values, "third", THIRDS)
    keys = zip(*(found[name] for name in DATA_KEYS), strict=True)
    return found.assign(reference=[references[key] for key in keys])


def _reference(dense: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the dense trials that define hardness, and their training set in words."""
    seeds = dense.groupby("group")["seed"].transform("nunique")
    ordinary = dense[((dense["difficulty"] == "none") | (dense["data_ratio"] == 1)) & (seeds > 1)]
    if ordinary.empty:
        return dense, AT_HAND
    order = ordinary.assign(seeds=-seeds, selects=ordinary["difficulty"] != "none", share=-ordinary["data_ratio"])
    first = order.sort_values(["share", "selects", "seeds", "comparison"]).iloc[0]
    name = difficulty(first["difficulty"], first["difficulty_parameters"], selects=first["data_ratio"] < 1)
    ratio = "" if name.startswith(ALL_DATA) else f", data ratio {first['data_ratio']:g}"
    return ordinary[ordinary["group"] == first["group"]], f"{name}{ratio}"
