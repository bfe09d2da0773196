"""Synthetic rows of ``trials``, through the declared schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pytest

from trainables import records

RECIPE = {
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
    "precision": "fp32",
}


def make_row(sparsifier: str, sparsity: float, seed: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """A finished trial; ``accuracy``: its test accuracy in [0, 1]; ``changes``: other columns."""
    row: dict[str, Any] = dict.fromkeys(records.TABLES["trials"].names)
    row |= {"sweep": "synthetic", "dataset": "cifar100", "model": "resnet18", "model_parameters": "{}"}
    row |= {"difficulty": "el2n", "difficulty_parameters": '{"keep": "hardest", "runs": 10}', "data_ratio": 0.3}
    row |= {"sparsifier": sparsifier, "sparsifier_parameters": "{}", "sparsity": sparsity, "seed": seed}
    row |= {"profile": "clean", "evaluation_every": 1, "test_accuracy": accuracy, **RECIPE, **changes}
    identity = json.dumps({name: value for name, value in row.items() if name != "test_accuracy"}, sort_keys=True)
    return {**row, "trial": hashlib.sha256(identity.encode()).hexdigest()[:16]}


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return make_row


@pytest.fixture
def frame() -> Callable[[Iterable[dict[str, Any]]], pd.DataFrame]:
    return lambda rows: records.build("trials", rows).to_pandas()


@pytest.fixture
def comparison(frame: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Dense and SET at data ratios .3 and 1, three seeds; SET at sparsity .5 and .9, at .8 only for ratio 1."""
    rows = []
    for ratio in (0.3, 1.0):
        for seed, dense in enumerate((0.60, 0.62, 0.64)):
            rows.append(make_row("dense", 0.0, seed, dense, data_ratio=ratio))
            for sparsity in (0.5, 0.8, 0.9) if ratio == 1.0 else (0.5, 0.9):
                # At .5 the differences to dense are 1, 2 and 3 points, else -5, 0 and 5.
                gain = 0.01 * (seed + 1) if sparsity == 0.5 else 0.05 * (seed - 1)
                rows.append(make_row("set", sparsity, seed, dense + gain, data_ratio=ratio))
    return frame(rows)
