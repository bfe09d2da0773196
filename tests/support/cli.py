"""The command as a user runs it: a separate process, real Ray, a separate storage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

COMMAND = [sys.executable, "-m", "sparsweep.tuner.cli.app"]

Call = Callable[..., subprocess.CompletedProcess[str]]

# Columns about the time, place and sweep of a trial, which may differ between two runs of it.
CIRCUMSTANCES = {"sweep", "seconds", "images_per_second", "started_at", "finished_at", "commit", "versions"}


def results(storage: Path, table: str) -> pd.DataFrame:
    """Return a table without the columns that may differ between two runs of the same trial."""
    frame = pd.read_parquet(storage / "results" / table)
    frame = frame.drop(columns=[name for name in CIRCUMSTANCES if name in frame])
    return frame.sort_values(
        [name for name in ("trial", "epoch", "position", "split", "sample") if name in frame], ignore_index=True
    )


def assert_same_results(one: Path, other: Path) -> None:
    """Check that all results of two storages are equal, in all bits."""
    for table in ("trials", "epochs", "layers", "outcomes"):
        pd.testing.assert_frame_equal(results(one, table), results(other, table), check_exact=True)
