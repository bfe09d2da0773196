"""What is given up after a sweep is made again by the commands that the messages name, bit for bit."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd

from support.cli import Call

SWEEP = """
base:
  dataset: digits
  model: {name: resnet8, width: 0.25}
  recipe: {preset: digits, epochs: 1}
  difficulty: {name: el2n, runs: 2, epoch: 1}
  data_ratio: 0.2
grids:
  - sparsifier: dense
  - {sparsifier: omp, sparsity: 0.5}
"""
STORAGE = ("--storage", "its runs")


def contents(storage: Path, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in storage.glob(f"{folder}/*/*")}


def named_command(output: str) -> list[str]:
    """The arguments of the command at the end of a message."""
    return shlex.split(output.rpartition(": sparsweep ")[2])


def test_weights_and_scores_come_back(sparsweep: Call, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    ran = sparsweep("run", "small.yaml", *STORAGE)
    assert ran.returncode == 0, ran.stderr
    runs = tmp_path / "its runs"
    artifacts, results = contents(runs, "artifacts"), contents(runs, "results")
    assert len(artifacts) == 2 + 2
    sparsweep("gc", "--yes", *STORAGE)
    assert contents(runs, "artifacts") == artifacts
    listed = sparsweep("gc", "--yes", "--weights", "--scores", *STORAGE).stdout
    assert contents(runs, "artifacts") == {}
    assert listed.count(" --storage 'its runs'") == 2

    trials = pd.read_parquet(runs / "results/trials")
    sparse = trials[trials["sparsifier"] == "omp"]["trial"].item()
    lost = sparsweep("export", sparse, *STORAGE)
    assert lost.returncode == 2 and f"the weights of {sparse} are not in" in lost.stderr
    again = sparsweep(*named_command(lost.stderr))
    # The sparse network starts from the dense one, which starts from the scores.
    assert again.returncode == 0 and "small: 4 runs recreated, 0 still missing" in again.stdout, again.stderr
    assert sparsweep("export", sparse, *STORAGE).returncode == 0
    assert contents(runs, "artifacts") == artifacts

    for score in (runs / "artifacts/scores").iterdir():
        score.unlink()
    drawn = sparsweep("figures", "small", *STORAGE)
    assert "sample_examples: not drawn" in drawn.stdout
    assert sparsweep(*named_command(drawn.stderr)).returncode == 0
    assert "sample_examples.png" in sparsweep("figures", "small", *STORAGE).stdout
    assert contents(runs, "artifacts") == artifacts and contents(runs, "results") == results
