"""Accuracy of groups of trials, sample by sample, from outcomes that do not fit into memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike

import numpy as np
import pandas as pd

from sparsweep.analysis import outcome_files
from sparsweep.analysis.arguments import storage_text


def sample_accuracy(storage: str | PathLike[str], groups: Mapping[str, Hashable], split: str = "test") -> pd.DataFrame:
    """Return the accuracy of each group of trials on each sample. The outcomes are read in pieces.

    All trials of one group must have been tested on one data set.

    Args:
        storage: A local path or a URI.
        groups: Group of each trial, such as its method, by the id of the trial. Other trials are not read.
        split: Name of the split.

    Returns:
        One row per sample, one column per group: the share of its trials that classify the sample correctly, in [0, 1].
        NaN if none has evaluated it.
    """
    names = list(dict.fromkeys(groups.values()))
    number = {name: index for index, name in enumerate(names)}
    hits, counts = np.zeros((len(names), 0)), np.zeros((len(names), 0))
    for rows in outcome_files.read_batches(storage_text(storage), split, groups, ["trial", "sample", "correct"]):
        trial = rows["trial"].unify_dictionaries().combine_chunks()
        # The dictionary can hold trials without rows: any code does for them.
        codes = np.array([number.get(groups.get(name), 0) for name in trial.dictionary.to_pylist()])
        codes = codes[trial.indices.to_numpy()]
        samples = rows["sample"].to_numpy()
        if (missing := int(samples.max()) + 1 - hits.shape[1]) > 0:
            hits, counts = (np.pad(total, ((0, 0), (0, missing))) for total in (hits, counts))
        places, size = codes * hits.shape[1] + samples, hits.size
        hits += np.bincount(places, rows["correct"].to_numpy(), size).reshape(hits.shape)
        counts += np.bincount(places, minlength=size).reshape(hits.shape)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame((hits / counts).T, columns=names).rename_axis("sample")
