"""A driver that is stopped by a signal or killed, and a resume that gives the results of an undisturbed run."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import read_sweep
from sparsweep.tuner.planning.graph import build_graph
from support.cli import COMMAND, Call, assert_same_results
from support.fault_injection import wait_until

SWEEP = """
base:
  dataset: digits
  model: resnet8
  recipe: {preset: digits, epochs: 12}
  evaluation: {every: 3}
  difficulty: {name: el2n, runs: 1, epoch: 2}
  data_ratio: [0.3, 1.0]
grids:
  - sparsifier: dense
  - {sparsifier: [{name: set, update_every: 1}, lth], sparsity: 0.8}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "killed.yaml"
    path.write_text(SWEEP)
    return path


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    log = (folder / "driver.log").open("ab")
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=log, stderr=log)


def test_a_sweep_killed_twice_and_resumed_equals_an_undisturbed_run(
    sparsweep: Call, sweep: Path, tmp_path: Path
) -> None:
    undisturbed = sparsweep("run", str(sweep), "--storage", "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr

    # First kill: within ten seconds, before any trial is finished.
    driver = start(tmp_path, "run", str(sweep))
    time.sleep(6)
    driver.kill()
    driver.wait()
    storage = tmp_path / "runs"
    store = Store(str(storage))
    assert not store.finished()

    # Second kill: one trial is finished, another one has a checkpoint.
    driver = start(tmp_path, "resume", "killed")
    wait_until(lambda: bool(store.finished()) and bool(store.checkpoints()), "a finished and an unfinished trial")
    driver.kill()
    driver.wait()
    time.sleep(3)  # the workers exit after their driver
    finished = {path: path.stat().st_mtime_ns for path in storage.glob("results/trials/*.parquet")}
    assert 0 < len(finished) < 6
    unfinished = {run: store.read_checkpoint(run) for run in store.checkpoints()}

    resumed = sparsweep("resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_results(storage, tmp_path / "undisturbed")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not store.checkpoints()
    # Unfinished trials continued from their checkpoints: the epochs before the kill have the same wall times.
    trials = build_graph(read_sweep(str(sweep)).trials).trials
    epochs = pd.read_parquet(storage / "results/epochs")
    for run, state in unfinished.items():
        if run in trials:
            history = state["training"]["history"]
            assert history
            seconds = epochs[epochs["trial"] == run].sort_values("epoch")["seconds"]
            assert seconds.tolist()[: len(history)] == [epoch["seconds"] for epoch in history]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_driver_which_prints_the_resume_command(
    signum: signal.Signals, sweep: Path, tmp_path: Path
) -> None:
    driver = start(tmp_path, "run", str(sweep), "--storage", "here")
    store = Store(str(tmp_path / "here"))
    wait_until(lambda: bool(store.checkpoints() | store.artifacts("scores")), "a first checkpoint or score")
    driver.send_signal(signum)
    assert driver.wait(timeout=60) == 128 + signum
    output = (tmp_path / "driver.log").read_text()
    assert "sparsweep resume killed --storage here" in output
    assert "Traceback" not in output
