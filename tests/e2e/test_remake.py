"""Deleted weights and scores are recreated, identical in all bits, by the commands that the messages name."""

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
    """Return the arguments of the command at the end of a message."""
    return shlex.split(output.rpartition(": sparsweep ")[2])


def test_weights_and_scores_are_recreated(sparsweep: Call, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    run = sparsweep("run", "small.yaml", *STORAGE)
    assert run.returncode == 0, run.stderr
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
    export = sparsweep("export", sparse, *STORAGE)
    assert export.returncode == 2 and f"the weights of {sparse} are not in" in export.stderr
    recreated = sparsweep(*named_command(export.stderr))
    # The sparse network starts from the dense one, which starts from the scores.
    assert recreated.returncode == 0 and "small: 4 runs recreated, 0 still missing" in recreated.stdout, (
        recreated.stderr
    )
    assert sparsweep("export", sparse, *STORAGE).returncode == 0
    assert contents(runs, "artifacts") == artifacts

    for score in (runs / "artifacts/scores").iterdir():
        score.unlink()
    figures = sparsweep("figures", "small", *STORAGE)
    assert "sample_examples: not drawn" in figures.stdout
    assert sparsweep(*named_command(figures.stderr)).returncode == 0
    assert "sample_examples.png" in sparsweep("figures", "small", *STORAGE).stdout
    assert contents(runs, "artifacts") == artifacts and contents(runs, "results") == results
