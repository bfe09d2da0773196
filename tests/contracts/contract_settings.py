"""What the contract tests run with: small arguments for every registered name.

A new method, difficulty, data set or network needs one line in the table of its kind below; without it
``test_every_name_has_settings`` fails. The tiny network and data are those of ``trainables.testing``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainables.data import datasets
from trainables.difficulty import difficulties
from trainables.models import models
from trainables.sparsifiers import sparsifiers
from trainables.spec import TrialSpec
from trainables.testing import EPOCHS, LAYERS, SAMPLES, TOTAL, Tiny, tiny_data, tiny_trial, trained, training
from trainables.testing import start_of as start

__all__ = ["EPOCHS", "LAYERS", "SAMPLES", "TOTAL", "Tiny", "start", "tiny_data", "trained", "training"]

SPARSIFIERS: dict[str, dict[str, Any]] = {
    "dense": {},
    "gmp": {"update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75},
    "grasp": {},
    "lth": {},
    "nm": {"n": 1, "m": 5},
    "omp": {},
    "omp_erk": {},
    "random": {},
    "random_snip": {},
    "set": {"update_every": 1, "prune_rate": 0.5, "stop_fraction": 1.0},
    "snip": {},
    "static": {"file": str(Path(__file__).with_name("static_masks.npz"))},
    "synflow": {"iterations": 5},
    "uniform": {},
}
"""Updates at epoch boundaries, so that one is due at the very step where a test stops and resumes."""

SPARSITY = {"dense": 0.0, "nm": 0.8, "static": 0.8}
"""The only sparsity of the methods whose arguments fix it."""

DIFFICULTIES: dict[str, dict[str, Any]] = {
    "corruption": {"types": "named3"},
    "el2n": {"runs": 2, "epoch": 1},
    "none": {},
}

DATASETS: dict[str, dict[str, Any]] = {"digits": {}}

MODELS: dict[str, dict[str, Any]] = {"resnet8": {"width": 0.25}, "resnet18": {"width": 0.0625}}

# Taken when the tests are collected, before any test registers a method of its own.
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
    """The registered ``name`` with its small arguments; with its defaults where the table has none."""
    return {"name": name, **registry_table.get(name, {})}


def trial(sparsifier: str, sparsity: float = 0.8, seed: int = 0, **changes: Any) -> TrialSpec:
    """A trial of four epochs on the tiny network, at the asked sparsity or the only one there is."""
    arguments = small(SPARSIFIERS, sparsifier)
    return tiny_trial(arguments, SPARSITY.get(sparsifier, sparsity), seed, **changes)
