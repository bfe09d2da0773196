"""A search whose driver is killed, and a resume that neither loses nor repeats a suggestion."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.state.suggestions import suggestions
from support.cli import COMMAND, Call

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 2}, data_ratio: 0.1}
search:
  trials: 10
  sampler: random
  objectives: {test_accuracy: maximize, train_flops: minimize}
  space:
    sparsity: {from: 0.1, to: 0.9}
    sparsifier: [{name: set, update_every: 0.5, prune_rate: {from: 0.1, to: 0.5}}, omp]
"""


@pytest.mark.slow
def test_a_killed_search_continues_with_the_next_suggestion(sparsweep: Call, tmp_path: Path) -> None:
    path = tmp_path / "killed.yaml"
    path.write_text(SWEEP)
    store = Store(str(tmp_path / "runs"))
    driver = subprocess.Popen([*COMMAND, "run", str(path)], cwd=tmp_path, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 180
    while len(store.finished()) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    time.sleep(3)  # the workers exit after their driver
    before = list(suggestions("killed", store))
    rows = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs/results/trials").iterdir()}
    assert 3 <= len(before) < 10

    resumed = sparsweep("resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "10 trials: 10 done" in resumed.stdout and "  best test_accuracy" in resumed.stdout
    after = list(suggestions("killed", store))
    assert after[: len(before)] == before and len({suggestion.spec.id for suggestion in after}) == 10
    assert {file: file.stat().st_mtime_ns for file in rows} == rows
    # Prerequisites ran first: the dense networks that OMP prunes are stored, and they do not count as trials.
    dense = {parent.id for suggestion in after for parent in suggestion.spec.prerequisites()}
    assert dense and dense <= store.artifacts("weights")
    assert json.loads(sparsweep("status", "killed", "--json").stdout)["trials"] == 10
