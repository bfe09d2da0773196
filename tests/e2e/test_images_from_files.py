"""A sweep on images from files, run as a user runs it. The driver reads the files; workers never do."""

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


def test_moved_images_give_the_same_trials(sparsweep: Call, tmp_path: Path) -> None:
    """The same images in another folder give the same trial ids, so no run is left to do."""
    small_imagefolder(tmp_path)
    (tmp_path / "pictures.yaml").write_text(SWEEP.format(folder=tmp_path / "pictures"))
    run = sparsweep("run", "pictures.yaml", "--data", str(tmp_path / "data"))
    assert run.returncode == 0, run.stderr
    assert "decoding 15 images" in run.stderr and "1 trials: 1 done" in run.stdout
    (row,) = pd.read_parquet(tmp_path / "runs/results/trials").to_dict("records")
    assert (row["dataset"], row["samples"], row["rotation"], row["drop_last"]) == ("imagefolder", 6, 15.0, True)

    shutil.move(tmp_path / "pictures", tmp_path / "moved")
    (tmp_path / "pictures.yaml").write_text(SWEEP.format(folder=tmp_path / "moved"))
    rerun = sparsweep("run", "pictures.yaml", "--data", str(tmp_path / "nowhere"))
    assert rerun.returncode == 0, rerun.stderr
    assert "runs to do" not in rerun.stderr and "1 trials: 1 done" in rerun.stdout
