"""Small arguments for every registered name, for the contract tests.

A new method, difficulty, dataset or network needs one line in its table below. Without the line,
``test_every_name_has_settings`` fails. The tiny network and data are those of ``trainables.testing``.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsweep.trainables.data import datasets
from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.models import models
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.testing import (
    EPOCHS,
    LAYERS,
    NUM_SAMPLES,
    TOTAL,
    TinyConvNet,
    fake_parent_state,
    tiny_data,
    tiny_trial,
    training,
)
from sparsweep.trainables.testing import init_context as start

__all__ = [
    "EPOCHS",
    "LAYERS",
    "NUM_SAMPLES",
    "TOTAL",
    "TinyConvNet",
    "fake_parent_state",
    "start",
    "tiny_data",
    "training",
]

SPARSIFIERS: dict[str, dict[str, Any]] = {
    "bayesian_connectivity": {"noise": 0.001, "l1": 0.1},
    "dense": {},
    "dsr": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "gmp": {"update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75},
    "grasp": {},
    "itop": {"update_every": 1, "growth": "gradient", "stop_fraction": 1.0},
    "lth": {},
    "mest": {"update_every": 1, "prune_rate": 0.5, "gradient_weight": 0.5, "decay_fraction": 1.0, "stop_fraction": 1.0},
    "movement": {"update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75},
    "nm": {"n": 1, "m": 5},
    "omp": {},
    "omp_erk": {},
    "random": {},
    "random_snip": {},
    "rigl": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "set": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "snfs": {"update_every": 1, "stop_fraction": 1.0},
    "snip": {},
    "static": {"file": str(Path(__file__).with_name("static_masks.npz"))},
    "synflow": {"iterations": 5},
    "topkast": {"update_every": 1, "margin": 0.3},
    "uniform": {},
}
"""Small arguments of sparsifiers. Masks are updated at epoch boundaries, where the resume tests stop and resume."""

SPARSITY = {"dense": 0.0, "nm": 0.8, "static": 0.8}
"""Sparsity of the methods whose arguments determine it."""

SCORES_FOLDER = tempfile.TemporaryDirectory()


def scores_file(labels: np.ndarray) -> str:
    """Write a user's file with random scores for samples with these labels. It is deleted after the tests."""
    path = f"{SCORES_FOLDER.name}/{zlib.crc32(labels.tobytes())}.parquet"
    scores = np.random.default_rng(0).random(len(labels))
    pq.write_table(pa.table({"sample": np.arange(len(labels)), "label": labels, "score": scores}), path)
    return path


DIFFICULTIES: dict[str, dict[str, Any]] = {
    "aum": {"runs": 2, "epoch": 1},
    "adversarial": {"steps": 2, "test_steps": 2},
    "corruption": {"types": "named3"},
    "composed": {
        "selection": {"name": "el2n", "runs": 2, "epoch": 1},
        "labels": {"name": "label_noise", "fraction": 0.4},
        "images": {"name": "corruption", "types": "named3"},
        "attack": {"name": "adversarial", "steps": 2, "test_steps": 2},
    },
    "el2n": {"runs": 2, "epoch": 1},
    "label_noise": {"fraction": 0.4, "kind": "pairwise"},
    "entropy": {"runs": 2, "epoch": 1},
    "forgetting": {"runs": 2, "epoch": 2},
    "grand": {"runs": 2, "epoch": 1},
    "loss": {"runs": 2, "epoch": 1},
    "margin": {"runs": 2, "epoch": 1},
    "none": {},
    "prediction_depth": {"runs": 2},
    "scores": {"file": scores_file(np.arange(30) % 10)},  # the labels of the contract of difficulties
    "vog": {"runs": 2},
}

DATASETS: dict[str, dict[str, Any]] = {
    "arrays": {"path": "arrays.npz"},
    "cifar10": {},
    "cifar100": {},
    "digits": {},
    "imagefolder": {"path": "pictures", "image_size": 16},
    "tinyimagenet": {},
}
"""Small arguments of datasets. ``tiny_datasets.WRITERS`` write their files; paths are relative to the root there."""

MODELS: dict[str, dict[str, Any]] = {
    "resnet8": {"width": 0.25},
    "resnet8_rgb": {"width": 0.25},
    "resnet18": {"width": 0.0625},
    "resnet34": {"width": 0.0625, "stem": "7x7"},
    "vgg16": {"width": 0.0625},
    "vgg19": {"width": 0.0625},
}

# Names at import time, before any test registers another method.
SPARSIFIER_NAMES = sparsifiers.names()
DIFFICULTY_NAMES = difficulties.names()
DATASET_NAMES = datasets.names()
MODEL_NAMES = models.names()

TABLES = {
    "sparsifier": (SPARSIFIERS, SPARSIFIER_NAMES),
    "difficulty": (DIFFICULTIES, DIFFICULTY_NAMES),
    "dataset": (DATASETS, DATASET_NAMES),
    "model": (MODELS, MODEL_NAMES),
}


def small(registry_table: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Return ``name`` with its small arguments, or with its defaults if the table has no entry."""
    return {"name": name, **registry_table.get(name, {})}


def trial(sparsifier: str, sparsity: float = 0.8, seed: int = 0, **changes: Any) -> TrialSpec:
    """Return a trial of four epochs on the tiny network. Entries of :data:`SPARSITY` override ``sparsity``."""
    arguments = small(SPARSIFIERS, sparsifier)
    return tiny_trial(arguments, SPARSITY.get(sparsifier, sparsity), seed, **changes)
