"""Fixtures with synthetic rows of the ``trials`` table, built with the declared schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pytest

from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import make_results, make_row


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return make_row


@pytest.fixture
def frame() -> Callable[[Iterable[dict[str, Any]]], pd.DataFrame]:
    return lambda rows: schemas.build_table("trials", rows).to_pandas()


@pytest.fixture(scope="session")
def everything() -> Results:
    """Results from which every kind of figure can be drawn."""
    return make_results()


@pytest.fixture
def comparison(frame: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Dense and SET with three seeds at data ratios 0.3 and 1. SET: sparsity 0.5 and 0.9; 0.8 only at ratio 1."""
    rows = []
    for ratio in (0.3, 1.0):
        for seed, dense in enumerate((0.60, 0.62, 0.64)):
            rows.append(make_row("dense", 0.0, seed, dense, data_ratio=ratio))
            for sparsity in (0.5, 0.8, 0.9) if ratio == 1.0 else (0.5, 0.9):
                # Differences to dense: 1, 2 and 3 points at sparsity 0.5; -5, 0 and 5 points at the others.
                gain = 0.01 * (seed + 1) if sparsity == 0.5 else 0.05 * (seed - 1)
                rows.append(make_row("set", sparsity, seed, dense + gain, data_ratio=ratio))
    return frame(rows)
