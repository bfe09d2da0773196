"""Results that nobody trained: rows of the declared tables, with effects that are known because they were planted."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from trainables import records

RECIPE: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 128,
    "lr": 0.1,
    "milestones": "[0.5, 0.75]",
    "gamma": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "crop_padding": 4,
    "flip": True,
    "rotation": 0.0,
    "drop_last": False,
    "precision": "fp32",
}
SETTING: dict[str, Any] = {
    "dataset": "cifar100",
    "dataset_parameters": "{}",
    "model": "resnet18",
    "model_parameters": "{}",
    "difficulty": "el2n",
    "difficulty_parameters": '{"keep": "hardest", "runs": 10}',
    "data_ratio": 0.3,
    "profile": "clean",
    "evaluation_every": 1,
}


def make_row(sparsifier: str, sparsity: float, seed: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """A finished trial; ``accuracy``: its test accuracy in [0, 1]; ``changes``: other columns."""
    row: dict[str, Any] = dict.fromkeys(records.TABLES["trials"].names)
    row |= {"sweep": "synthetic", **SETTING, **RECIPE}
    row |= {"sparsifier": sparsifier, "sparsifier_parameters": "{}", "sparsity": sparsity, "seed": seed}
    row |= {"test_accuracy": accuracy, **changes}
    identity = {name: value for name, value in row.items() if not name.endswith(("_accuracy", "_at"))}
    return {**row, "trial": digest(identity)}


def digest(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_layer(trial: str, position: int, density: float, kind: str = "conv", weights: int = 1000) -> dict[str, Any]:
    """A layer of a finished trial."""
    row: dict[str, Any] = dict.fromkeys(records.TABLES["layers"].names)
    row |= {"trial": trial, "layer": f"layer{position}.weight", "position": position, "kind": kind, "weights": weights}
    return {**row, "nonzero": round(weights * density), "density": density, "flops": 2e3 * density}


def make_failure(trial: str, message: str, attempt: int = 1) -> dict[str, Any]:
    """A failure of a trial."""
    at = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
    row = {"trial": trial, "sweep": "synthetic", "error": "RuntimeError", "message": message, "attempt": attempt}
    return {**row, "traceback": f"Traceback ...\nRuntimeError: {message}", "node": "worker-1", "at": at}
