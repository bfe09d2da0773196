"""The hardest and easiest training images per class, by stored scores (Figure 1 of the paper)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparsweep.analysis.arguments import storage_text
from sparsweep.trainables.storage import score_files, tables

if TYPE_CHECKING:
    from sparsweep.trainables.data.base import ImageData

log = logging.getLogger(__name__)

SAMPLES: dict[str, str] = {
    "dataset": "name of the data set",
    "name": "the score, such as el2n",
    "label": "number of the image's class",
    "class_name": "what it is called",
    "end": "hardest or easiest",
    "rank": "from 0, the most extreme of its class",
    "sample": "index of the image in the training set",
    "score": "mean score over the scoring runs; larger is harder",
    "std": "sample standard deviation over the runs (ddof=1), NaN for one run",
    "n": "number of runs",
    "image": "uint8 [H, W, C] with C of 1 or 3",
}
"""Columns of :func:`load_samples`."""

ENDS = ("hardest", "easiest")


@dataclass(frozen=True)
class Ranking:
    """Scoring runs that rank the training images of one data set together.

    Attributes:
        dataset: JSON of the data set, as in a spec.
        runs: Ids of the scoring runs. Their scores are averaged.
    """

    dataset: str
    runs: tuple[str, ...]


def load_samples(
    storage: str | PathLike[str], rankings: Iterable[Ranking], classes: int = 10, each: int = 5
) -> pd.DataFrame:
    """Return the hardest and easiest images of the first classes per ranking, with the columns SAMPLES.

    A ranking without scores is left out. Damaged files and data sets that cannot be loaded are logged.
    """
    parts = [pd.DataFrame(columns=list(SAMPLES))]
    for ranking in rankings:
        table, damaged = score_files.read_scores(storage_text(storage), ranking.runs)
        for path in damaged:
            tables.warn_damaged("scores", path)
        chosen = select_extremes(table.to_pandas(), classes, each)
        dataset = json.loads(ranking.dataset)
        if len(chosen) and (found := _load(dataset)) is not None:
            data, names = found
            pictures = [data.train_images[sample].transpose(1, 2, 0) for sample in chosen["sample"]]
            called = [names[label] for label in chosen["label"]]
            parts.append(chosen.assign(dataset=dataset["name"], class_name=called, image=pictures)[list(SAMPLES)])
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def select_extremes(scores: pd.DataFrame, classes: int, each: int) -> pd.DataFrame:
    """Return the columns of SAMPLES except ``dataset``, ``class_name`` and ``image``.

    The input are rows of ``tables.read_scores``. Of equal scores, the lower index comes first.
    """
    means = scores.groupby(["name", "label", "sample"])["score"].agg(score="mean", std="std", n="count").reset_index()
    shown = np.sort(means["label"].unique())[:classes]
    means = means[means["label"].isin(shown)]
    parts = []
    for end, ascending in zip(ENDS, (False, True), strict=True):
        order = means.sort_values(["score", "sample"], ascending=[ascending, True], kind="stable")
        rank = order.groupby(["name", "label"]).cumcount()
        parts.append(order.assign(end=end, rank=rank)[rank < each])
    return pd.concat(parts).sort_values(["name", "label", "end", "rank"], ignore_index=True)


@dataclass(frozen=True, eq=False)
class TestImages:
    """Some test images of a data set.

    Attributes:
        samples: Index of each image in the test set, int (n,).
        images: uint8 (n, H, W, C) with C of 1 or 3, before any difficulty.
        class_names: In label order.
    """

    __test__ = False  # the name is no test to pytest

    samples: np.ndarray
    images: np.ndarray
    class_names: tuple[str, ...]


def dataset_json(name: str, parameters: str) -> str:
    """Return the JSON of a data set from the columns ``dataset`` and ``dataset_parameters`` of ``trials``."""
    return json.dumps({"name": name, **json.loads(parameters)})


def load_test_images(samples: Mapping[str, np.ndarray]) -> dict[str, TestImages]:
    """Return test images by JSON of the data set, as in a spec.

    ``samples``: index in the test set (n,), by JSON of the data set. A data set that cannot be loaded is logged and
    left out.
    """
    found = {}
    for dataset, chosen in samples.items():
        if (loaded := _load(json.loads(dataset))) is not None:
            data, names = loaded
            found[dataset] = TestImages(chosen, data.test_images[chosen].transpose(0, 2, 3, 1), names)
    return found


def _load(dataset: dict[str, object]) -> tuple[ImageData, tuple[str, ...]] | None:
    """Return the data set and its class names. None, with a log line, if it is missing."""
    # Imported here: it brings PyTorch, which no other figure needs.
    from sparsweep.trainables.data import datasets

    try:
        source = datasets.parse(dataset)
        return source.load(), source.class_names()
    except (OSError, ValueError) as error:
        log.warning("%s: example images are left out: %s", dataset["name"], error)
        return None
