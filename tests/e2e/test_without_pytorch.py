"""The command never imports PyTorch; only workers do. Therefore the command starts fast and uses little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sparsweep.trainables.storage.store import Store

COMMAND = """
import sys
from sparsweep.tuner.cli.app import main
try:
    main()
finally:
    assert "torch" not in sys.modules, "PyTorch is loaded"
"""

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids:
  - sparsifier: dense
  - {sparsifier: [{name: set, update_every: 0.25}, {name: uniform, dense_first: true}], sparsity: 0.5}
"""


@pytest.mark.parametrize("sweep", ["all-sparsifiers", "paper"])
def test_the_cost_of_a_sweep_is_estimated(sweep: str, tmp_path: Path) -> None:
    process = call(tmp_path, "plan", sweep, "--json")
    assert '"train_flops"' in process.stdout


def test_a_sweep_runs_and_is_reported(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    assert "small: 3 trials: 3 done" in call(tmp_path, "run", "small.yaml").stdout
    trial = min(Store(str(tmp_path / "runs")).finished())
    for command in ("resume", "status", "claims", "report"):
        call(tmp_path, command, "small")
    call(tmp_path, "show", trial)


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder``. Fail if it exits with an error or imports PyTorch."""
    process = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, cwd=folder)
    assert process.returncode == 0, process.stderr
    return process
