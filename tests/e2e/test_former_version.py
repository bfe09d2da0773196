"""A sweep of version 0.1.0 and one of this tree leave the same tables, CSVs and pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from support.cli import assert_same_results

ROOT = Path(__file__).parents[2]
FORMER = "v0.1.0"
SWEEP = "smoke"


def run(folder: Path, storage: Path, module: str) -> None:
    """Run the sweep and draw its figures with the code in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(folder / ".ci/names"), "SOURCE_DATE_EPOCH": "0"}
    for command in ("run", "figures"):
        call = [sys.executable, "-m", module, command, SWEEP, "--storage", str(storage)]
        done = subprocess.run(call, capture_output=True, text=True, cwd=storage.parent, env=environment, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_sweep_of_the_former_version_is_the_same(tmp_path: Path) -> None:
    known = subprocess.run(["git", "tag", "--list", FORMER], capture_output=True, text=True, check=True, cwd=ROOT)
    if not known.stdout.strip():
        pytest.skip(f"this clone has no tag {FORMER}")
    old = tmp_path / "old"
    subprocess.run(["git", "worktree", "add", "--detach", str(old), FORMER], check=True, cwd=ROOT, capture_output=True)
    try:
        run(old, tmp_path / "runs-old", "sparsweep.tuner.cli")
        run(ROOT, tmp_path / "runs-new", "sparsweep.tuner.cli.app")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(old)], check=True, cwd=ROOT)
    before, after = tmp_path / "runs-old", tmp_path / "runs-new"
    former, present = (pd.read_parquet(storage / "results/trials") for storage in (before, after))
    assert list(former.columns) == list(present.columns) and set(former["trial"]) == set(present["trial"])
    assert former.sort_values("trial")["spec"].tolist() == present.sort_values("trial")["spec"].tolist()
    for storage in (before, after):  # code differs by design, and says so
        for file in (storage / "results/trials").glob("*.parquet"):
            pd.read_parquet(file).drop(columns="code").to_parquet(file)
    assert_same_results(before, after)
    pictures = sorted(path.relative_to(before) for path in (before / "figures").rglob("*.*") if path.suffix != ".pdf")
    assert pictures and pictures == sorted(
        path.relative_to(after) for path in (after / "figures").rglob("*.*") if path.suffix != ".pdf"
    )
    for picture in pictures:
        assert (before / picture).read_bytes() == (after / picture).read_bytes(), picture
