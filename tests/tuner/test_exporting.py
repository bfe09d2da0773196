"""``sparsweep export``: which files it writes, what it says of them, and what it refuses."""

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
    (done,) = run_here(parse_sweep(SWEEP, "one"), tmp_path / "runs")
    return done


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command in an empty folder; what it printed, or its error as one line."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        said = capsys.readouterr()
        return said.out or said.err

    return call


def test_the_file_is_there_and_what_is_said_of_it_works(
    trial: str, command: Callable[..., str], tmp_path: Path
) -> None:
    said = command("export", trial[:6])
    file = tmp_path / f"{trial}.pt"
    assert said.startswith(f"{file}: state_dict, masks and spec of snip 0.5 on digits/resnet8")
    content = torch.load(file, weights_only=True)
    model = export.network(content)
    lines = re.sub(r"^  ", "", said.partition("\n")[2], flags=re.MULTILINE)
    exec(lines, {"torch": torch, "prune": prune, "model": model})
    assert all(hasattr(layer, "weight_mask") for layer in model.modules() if isinstance(layer, nn.Conv2d))


def test_onnx_lies_beside_it(trial: str, command: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    said = command("export", trial, "--output", "nets/mine.pt", "--onnx")
    assert said.rstrip().endswith(f"{tmp_path}/nets/mine.onnx: ONNX, images -> logits")
    assert (tmp_path / "nets/mine.pt").is_file() and (tmp_path / "nets/mine.onnx").is_file()


def test_what_cannot_be_is_said_in_one_line(
    trial: str, command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("export", "zzz") == "sparsweep: TRIAL 'zzz': no finished trial matches in ./runs\n"
    (tmp_path / "file").touch()
    said = command("export", trial, "--output", "file/net.pt")
    assert said.startswith(f"sparsweep: --output {tmp_path}/file/net.pt: not writable: ") and said.count("\n") == 1
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    said = command("export", trial, "--onnx")
    assert said == "sparsweep: --onnx: needs onnx and onnxscript: pip install 'sparsweep[onnx]'\n"
    assert not (tmp_path / f"{trial}.pt").exists(), "nothing is written where a part is missing"
    (tmp_path / f"runs/artifacts/weights/{trial}.pt").unlink()
    again = f"sparsweep resume one --remake {trial}"
    said = command("export", trial)
    assert said == f"sparsweep: TRIAL {trial}: the weights of {trial} are not in ./runs. Recreate them: {again}\n"
