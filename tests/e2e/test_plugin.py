"""A plug-in method in a real sweep: in the driver, in the workers and in every command."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pandas as pd

from support.cli import COMMAND

MODULE = '''
"""Keeps the weights of largest magnitude, and all weights of chosen layers."""

from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import Difficulty, difficulties
from sparsweep.trainables.sparsifiers.base import InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.saliency import magnitudes
from sparsweep.trainables.sparsifiers.masked_params import Tensors


@sparsifiers.register
class Favoured(SaliencyPruning):
    """Magnitude pruning with larger scores in the chosen layers."""

    name: Literal["favoured"] = "favoured"
    layers: tuple[str, ...] = Field(default=())

    def scores(self, start: InitContext) -> Tensors:
        return {name: score + (name in self.layers) for name, score in magnitudes(start.weights).items()}


@difficulties.register
class Easy(Difficulty):
    """No difficulty."""

    name: Literal["easy"] = "easy"
'''

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids:
  - sparsifier: {name: favoured, layers: [linear.weight, conv1.weight]}
    sparsity: [0.5, 0.9]
    difficulty: easy
"""


def test_every_command_loads_a_plugin_from_the_path(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/their_methods.py").write_text(MODULE)
    (tmp_path / "plugin.yaml").write_text(SWEEP)
    path = os.pathsep.join([str(tmp_path / "modules"), *filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()])

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path}
        command = [*COMMAND, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240, check=False
        )

    without = call("plan", "plugin.yaml")
    assert without.returncode == 2 and "unknown sparsifier 'favoured'" in without.stderr
    plugin = ("--plugin", "their_methods")
    listed = {row["name"] for row in json.loads(call("list", "sparsifiers", "--json", *plugin).stdout)}
    assert {"favoured", "set"} <= listed
    assert json.loads(call("plan", "plugin.yaml", "--json", *plugin).stdout)["missing"] == 2
    run = call("run", "plugin.yaml", *plugin)
    assert run.returncode == 0, run.stderr
    assert "2 trials: 2 done" in run.stdout
    trials = pd.read_parquet(tmp_path / "runs/results/trials")
    assert trials["sparsifier"].tolist() == ["favoured"] * 2 and trials["difficulty"].tolist() == ["easy"] * 2
    layers = pd.read_parquet(tmp_path / "runs/results/layers").set_index("layer")["density"]
    assert (layers["linear.weight"] == 1).all() and (layers["conv1.weight"] == 1).all()
    for command in (("status",), ("resume",), ("figures",)):
        process = call(*command, "plugin", *plugin)
        assert process.returncode == 0, process.stderr
    trial = trials["trial"].iloc[0]
    assert json.loads(call("show", trial, "--json", *plugin).stdout)["spec"]["sparsifier"]["name"] == "favoured"
    assert call("export", trial, *plugin).returncode == 0
    wrong = call("run", "plugin.yaml", "--plugin", "there_is_none")
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "sparsweep: --plugin there_is_none: cannot be imported: ModuleNotFoundError: No module named 'there_is_none'\n"
    )


def test_plugins_load_from_the_current_folder_but_replace_no_package(tmp_path: Path) -> None:
    """Neither driver nor workers import a user's file that has the name of a package of sparsweep or of PyTorch."""
    (tmp_path / "their_methods.py").write_text(MODULE)
    (tmp_path / "plugin.yaml").write_text(SWEEP)
    for package in ("trainables", "tuner", "torch"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('the wrong one')")
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()])
    command = [COMMAND[0], "-P", *COMMAND[1:], "run", "plugin.yaml", "--plugin", "their_methods"]
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "2 trials: 2 done" in run.stdout
