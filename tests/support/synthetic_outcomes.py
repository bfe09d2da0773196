"""Outcomes of trials that nobody trained: predictions written by hand, or drawn to have the accuracy of the trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sparsweep.analysis.example_images import TestImages, dataset_json
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix


def matrix_of(
    predictions: Mapping[str, Sequence[int]],
    labels: Sequence[int],
    probabilities: Mapping[str, Sequence[float]] | None = None,
) -> OutcomeMatrix:
    """The matrix of trials by id, of samples 0, 1, ...; -1: not evaluated. Probabilities are 1 or 0 if not given."""
    tables = []
    for trial, row in predictions.items():
        own = (probabilities or {}).get(trial, [float(p == label) for p, label in zip(row, labels, strict=True)])
        kept = [sample for sample, prediction in enumerate(row) if prediction >= 0]
        chosen = {"label": labels, "prediction": row, "label_probability": own}
        tables.append(table_of(trial, kept, **{name: [values[s] for s in kept] for name, values in chosen.items()}))
    return OutcomeMatrix.from_tables(tables)


def table_of(
    trial: str,
    sample: Sequence[int],
    label: Sequence[int],
    prediction: Sequence[int],
    label_probability: Sequence[float] | None = None,
) -> pa.Table:
    """Rows of one trial as they are read from a storage."""
    probability = [0.5] * len(sample) if label_probability is None else label_probability
    return pa.table(
        {
            "trial": pa.array([trial] * len(sample), pa.string()).dictionary_encode(),
            "sample": pa.array(sample, pa.int32()),
            "label": pa.array(label, pa.uint16()),
            "prediction": pa.array(prediction, pa.uint16()),
            "label_probability": pa.array(probability, pa.float32()),
        }
    )


def make_outcomes(trials: Sequence[dict[str, Any]], samples: int = 120, classes: int = 10) -> OutcomeMatrix:
    """Outcomes of finished ``trials`` with their test accuracy. Samples of a larger index are harder in all trials."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(samples) % classes)
    confused = (labels + generator.integers(1, classes, samples)) % classes
    known = {row["trial"]: row for row in trials if row["test_accuracy"] is not None}
    ids = tuple(sorted(known))
    predictions = np.full((len(ids), samples), ABSENT, np.uint16)
    probabilities = np.empty((len(ids), samples), np.float16)
    for place, trial in enumerate(ids):
        own = np.random.default_rng(int(trial, 16)).normal(0, 0.15, samples)
        order = np.argsort(np.linspace(0, 1, samples) + own + 0.02 * labels)
        rank = np.empty(samples)
        rank[order] = np.arange(samples)
        right = rank < round(known[trial]["test_accuracy"] * samples)
        predictions[place] = np.where(right, labels, confused)
        probabilities[place] = 1 / (1 + np.exp(6 * (rank / samples - known[trial]["test_accuracy"])))
    return OutcomeMatrix(ids, np.arange(samples, dtype=np.int32), labels.astype(np.uint16), predictions, probabilities)


def make_test_images(trials: Sequence[dict[str, Any]], samples: int = 120) -> dict[str, TestImages]:
    """Test images of the data sets of ``trials``: of one color each, the darker the harder."""
    shades = np.linspace(255, 0, samples).astype(np.uint8)
    images = np.stack([np.full_like(shades, 200), shades, shades], axis=1)[:, None, None].repeat(4, 1).repeat(4, 2)
    names = ("apple", "aquarium_fish", "baby", "bear", "猫", "bed", "bee", "beetle", "bicycle", "bottle")
    keys = {dataset_json(row["dataset"], row["dataset_parameters"]) for row in trials}
    return {key: TestImages(np.arange(samples), images, names) for key in keys}
