"""A sweep with adaptive seeds, run as a user runs it.

Seeds are added while the sweep runs. Later commands read the same decisions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import read_sweep
from sparsweep.tuner.search.adaptive_seeds import load_plan
from support.cli import Call

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.2}
seeds: {from: 2, to: 4, margin: 0.0001}
grids: [{sparsifier: [random, omp], sparsity: 0.5}]
"""


@pytest.mark.slow
def test_seeds_are_added_during_a_run_and_decisions_are_kept(sparsweep: Call, tmp_path: Path) -> None:
    """No confidence interval of two to four seeds is as narrow as the margin.

    Therefore an arm gets seeds until its interval excludes 0, or until it has four seeds.
    """
    path = tmp_path / "grown.yaml"
    path.write_text(SWEEP)
    planned = json.loads(sparsweep("plan", str(path), "--json").stdout)
    assert (planned["trials"], planned["seeds"]) == (6, {"from": 2, "to": 4, "at_most": 12})

    run = sparsweep("run", str(path), "--track", "tensorboard")
    assert run.returncode == 0, run.stderr
    trials = pd.read_parquet(tmp_path / "runs/results/trials")
    trial_ids = load_plan(read_sweep(str(path)), Store(str(tmp_path / "runs"))).trials
    assert set(trials["trial"]) == set(trial_ids)
    assert len(trial_ids) > 6  # after such a short training, at least one point is undecided with two seeds
    counts = trials.groupby("sparsifier")["seed"].nunique()
    assert counts["dense"] == max(counts["random"], counts["omp"])
    assert len(list((tmp_path / "runs/tracking/tensorboard/grown").iterdir())) == len(trial_ids)

    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs/results").rglob("*.parquet")}
    resumed = sparsweep("resume", "grown")
    assert resumed.returncode == 0 and "runs to do" not in resumed.stderr
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs/results").rglob("*.parquet")} == before
    status = json.loads(sparsweep("status", "grown", "--json").stdout)
    assert (status["trials"], status["done"]) == (len(trial_ids), len(trial_ids))
