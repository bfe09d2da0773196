"""Example images of Figure 1, selected with score files and a dataset."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsweep.analysis.example_images import SAMPLES, Ranking, load_samples, select_extremes
from sparsweep.trainables.data import datasets

DIGITS = '{"name": "digits"}'


def scores_of(values):
    """Return the rows of one run. ``values`` are (label, score), in the order of the samples."""
    rows = [("run", "el2n", sample, label, score) for sample, (label, score) in enumerate(values)]
    return pd.DataFrame(rows, columns=["run", "name", "sample", "label", "score"])


def test_extremes_match_worked_example():
    samples = select_extremes(scores_of([(0, 0.5), (1, 0.9), (0, 0.7), (0, 0.1), (1, 0.2)]), classes=2, each=2)
    order = samples.groupby(["label", "end"])["sample"].agg(list).to_dict()
    assert order == {(0, "hardest"): [2, 0], (0, "easiest"): [3, 0], (1, "hardest"): [1, 4], (1, "easiest"): [4, 1]}


def test_scores_are_averaged_over_runs_and_ties_select_the_lower_index():
    first, second = scores_of([(0, 0.2), (0, 0.6)]), scores_of([(0, 0.6), (0, 0.2)]).assign(run="other")
    samples = select_extremes(pd.concat([first, second]), classes=1, each=1)
    assert list(samples["sample"]) == [0, 0]
    assert list(samples["score"]) == pytest.approx([0.4, 0.4])
    assert samples["std"].iloc[0] == pytest.approx(0.4 / np.sqrt(2)) and set(samples["n"]) == {2}


def test_only_the_first_classes_are_selected():
    samples = select_extremes(scores_of([(7, 0.5), (3, 0.9), (9, 0.7)]), classes=2, each=1)
    assert set(samples["label"]) == {3, 7}


@pytest.fixture
def storage(tmp_path):
    """Storage with two scoring runs of digits. The score grows with the sample index."""
    labels = datasets.parse("digits").load().train_labels
    for run in ("aaaa", "bbbb"):
        path = tmp_path / "artifacts" / "scores" / f"{run}-el2n.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"sample": np.arange(len(labels)), "label": labels, "score": np.arange(len(labels)) / 1000}
        pq.write_table(pa.table(content), path)
    return tmp_path


def test_images_are_from_the_training_set(storage):
    samples = load_samples(str(storage), [Ranking(DIGITS, ("aaaa", "bbbb"))], classes=10, each=5)
    assert list(samples.columns) == list(SAMPLES) and len(samples) == 10 * 2 * 5
    data = datasets.parse("digits").load()
    for row in samples.to_dict("records"):
        assert data.train_labels[row["sample"]] == row["label"] and row["n"] == 2
        assert row["class_name"] == str(row["label"])
        np.testing.assert_array_equal(row["image"], data.train_images[row["sample"]].transpose(1, 2, 0))
    hardest = samples[(samples["label"] == 3) & (samples["end"] == "hardest")]
    assert list(hardest["sample"]) == sorted(np.flatnonzero(data.train_labels == 3)[-5:], reverse=True)


def test_missing_scores_give_no_examples(storage):
    assert load_samples(str(storage), [Ranking(DIGITS, ("cccc",))]).empty
    assert list(load_samples(str(storage), []).columns) == list(SAMPLES)


def test_damaged_scores_and_missing_datasets_are_logged(storage, caplog):
    damaged_path = Path(storage, "artifacts", "scores", "bbbb-el2n.parquet")
    damaged_path.write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        rankings = [Ranking(DIGITS, ("aaaa", "bbbb")), Ranking('{"name": "gone"}', ("aaaa",))]
        samples = load_samples(str(storage), rankings)
    assert set(samples["n"]) == {1} and samples["std"].isna().all()
    damaged, missing = (record.getMessage() for record in caplog.records)
    assert str(damaged_path) in damaged
    assert missing.startswith("gone: example images are left out: ")
