"""A sweep of version 0.1.0 and one of this source tree write the same tables, CSV files and figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from support.cli import results

ROOT = Path(__file__).parents[2]
FORMER = "v0.1.0"
SWEEP = "smoke"


def run(folder: Path, storage: Path, module: str) -> None:
    """Run the sweep and draw its figures with the code in ``folder``.

    Args:
        folder: Folder of the source code.
        storage: Storage of the sweep.
        module: Module of the command.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder / ".ci/names"), "SOURCE_DATE_EPOCH": "0"}
    for command in ("run", "figures"):
        call = [sys.executable, "-m", module, command, SWEEP, "--storage", str(storage)]
        completed = subprocess.run(
            call, capture_output=True, text=True, cwd=storage.parent, env=environment, check=False
        )
        assert completed.returncode == 0, completed.stderr


@pytest.mark.slow
def test_a_sweep_gives_the_results_of_the_former_version(tmp_path: Path) -> None:
    tags = subprocess.run(["git", "tag", "--list", FORMER], capture_output=True, text=True, check=True, cwd=ROOT)
    if not tags.stdout.strip():
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
    assert set(former.columns) <= set(present.columns) and set(former["trial"]) == set(present["trial"])
    assert former.sort_values("trial")["spec"].tolist() == present.sort_values("trial")["spec"].tolist()
    for table in ("trials", "epochs", "layers"):
        old_rows, new_rows = results(before, table), results(after, table)
        shared = [name for name in old_rows if name != "code"]  # the digest of the code differs by design
        pd.testing.assert_frame_equal(old_rows[shared], new_rows[shared], check_exact=True)
    pictures = [path.relative_to(before) for path in (before / "figures").rglob("*.*") if path.suffix != ".pdf"]
    assert pictures
    for picture in pictures:
        assert (before / picture).read_bytes() == (after / picture).read_bytes(), picture
