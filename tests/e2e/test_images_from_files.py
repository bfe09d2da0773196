"""A sweep on images from files, as a user runs it: read by the driver, trained on by workers that never see a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from support.cli import Call
from support.tiny_datasets import small_imagefolder

SWEEP = """
name: pictures
base:
  dataset: {{name: imagefolder, path: {folder}, image_size: 32, validation: 3}}
  model: {{name: resnet18, width: 0.0625}}
  recipe: {{epochs: 1, batch_size: 5, rotation: 15, drop_last: true}}
grids:
  - {{sparsifier: dense, difficulty: {{name: el2n, runs: 1, epoch: 1}}, data_ratio: 0.5}}
"""


def test_one_folder_wherever_it_lies(sparsweep: Call, tmp_path: Path) -> None:
    """Trained once; the same images elsewhere are the same trials, and nothing is left to do."""
    small_imagefolder(tmp_path)
    (tmp_path / "pictures.yaml").write_text(SWEEP.format(folder=tmp_path / "pictures"))
    run = sparsweep("run", "pictures.yaml", "--data", str(tmp_path / "data"))
    assert run.returncode == 0, run.stderr
    assert "decoding 15 images" in run.stderr and "1 trials: 1 done" in run.stdout
    (row,) = pd.read_parquet(tmp_path / "runs/results/trials").to_dict("records")
    assert (row["dataset"], row["samples"], row["rotation"], row["drop_last"]) == ("imagefolder", 6, 15.0, True)

    shutil.move(tmp_path / "pictures", tmp_path / "moved")
    (tmp_path / "pictures.yaml").write_text(SWEEP.format(folder=tmp_path / "moved"))
    again = sparsweep("run", "pictures.yaml", "--data", str(tmp_path / "nowhere"))
    assert again.returncode == 0, again.stderr
    assert "runs to do" not in again.stderr and "1 trials: 1 done" in again.stdout
