"""The command does without PyTorch, which only workers load: it starts at once and is small for as long as it runs."""

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
def test_sweeps_are_priced(sweep: str, tmp_path: Path) -> None:
    found = call(tmp_path, "plan", sweep, "--json")
    assert '"train_flops"' in found.stdout


def test_a_sweep_is_run_and_looked_at(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    assert "small: 3 trials: 3 done" in call(tmp_path, "run", "small.yaml").stdout
    trial = min(Store(str(tmp_path / "runs")).finished())
    for command in ("resume", "status", "claims", "report"):
        call(tmp_path, command, "small")
    call(tmp_path, "show", trial)


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in ``folder``, which must end well and without PyTorch."""
    found = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, cwd=folder)
    assert found.returncode == 0, found.stderr
    return found
