"""``sparsweep export``: written files, printed instructions and errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsweep.trainables import export
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.config.sweep import parse_sweep

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids: [{sparsifier: snip, sparsity: 0.5}]
"""


@pytest.fixture
def trial(run_here: Callable[..., list[str]], tmp_path: Path) -> str:
    (run_id,) = run_here(parse_sweep(SWEEP, "one"), tmp_path / "runs")
    return run_id


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command in an empty folder. Return its standard output, or its standard error if the output is empty."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        captured = capsys.readouterr()
        return captured.out or captured.err

    return call


def test_export_writes_the_file_and_prints_working_code(
    trial: str, command: Callable[..., str], tmp_path: Path
) -> None:
    output = command("export", trial[:6])
    file = tmp_path / f"{trial}.pt"
    assert output.startswith(f"{file}: state_dict, masks and spec of snip 0.5 on digits/resnet8")
    content = torch.load(file, weights_only=True)
    model = export.network(content)
    lines = re.sub(r"^  ", "", output.partition("\n")[2], flags=re.MULTILINE)
    exec(lines, {"torch": torch, "prune": prune, "model": model})
    assert all(hasattr(layer, "weight_mask") for layer in model.modules() if isinstance(layer, nn.Conv2d))


def test_onnx_file_is_written_next_to_the_export(trial: str, command: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    output = command("export", trial, "--output", "nets/mine.pt", "--onnx")
    assert output.rstrip().endswith(f"{tmp_path}/nets/mine.onnx: ONNX, images -> logits")
    assert (tmp_path / "nets/mine.pt").is_file() and (tmp_path / "nets/mine.onnx").is_file()


def test_export_errors_are_one_line(
    trial: str, command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("export", "zzz") == "sparsweep: TRIAL 'zzz': no finished trial matches in ./runs\n"
    (tmp_path / "file").touch()
    output = command("export", trial, "--output", "file/net.pt")
    assert output.startswith(f"sparsweep: --output {tmp_path}/file/net.pt: not writable: ") and output.count("\n") == 1
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    output = command("export", trial, "--onnx")
    assert output == "sparsweep: --onnx: needs onnx and onnxscript: pip install 'sparsweep[onnx]'\n"
    assert not (tmp_path / f"{trial}.pt").exists(), "no file may be written if a dependency is missing"
    (tmp_path / f"runs/artifacts/weights/{trial}.pt").unlink()
    fix = f"sparsweep resume one --remake {trial}"
    output = command("export", trial)
    assert output == f"sparsweep: TRIAL {trial}: the weights of {trial} are not in ./runs. Recreate them: {fix}\n"
