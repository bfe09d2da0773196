"""Runs the examples of the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.app import app
from sparsweep.tuner.config.sweep import built_in, parse_sweep, read_sweep
from sparsweep.tuner.search.study import OptunaStudy

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """Return the only code block of ``language`` in the README that contains the given text."""
    blocks = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(blocks) == 1
    return blocks[0]


def test_the_sweep_file_is_valid() -> None:
    trials = parse_sweep(block("yaml", "grids:"), "mine").trials.values()
    assert len(trials) == 2 * 3 * (1 + (1 + 1 + 2) * 5)


def test_the_search_is_valid(tmp_path: Path) -> None:
    sweep = parse_sweep(block("yaml", "search:"), "best")
    assert sweep.search and OptunaStudy(sweep, Store(str(tmp_path))).ask()


def test_commands_and_images_of_the_readme_exist() -> None:
    commands = set(re.findall(r"^sparsweep (\w+)", block("console", "sparsweep plan"), re.MULTILINE))
    assert commands >= {"plan", "run", "status", "resume", "figures", "claims", "report", "export", "show", "list"}
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert commands <= known
    named = set(re.findall(r"sparsweep (?:plan|run|status|figures) ([\w-]+) ", README))
    assert named <= built_in().keys() | {"mine", "SWEEP"}
    for example in re.findall(r"^sparsweep (?:show|logs|export) (\w+)", README, re.MULTILINE):
        assert sum(trial.startswith(example) for trial in read_sweep("quickstart").trials) == 1
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).is_file()


def test_the_example_method_runs_and_pandas_reads_its_results(tmp_path: Path) -> None:
    """The README's file is added to a copy of the package.

    The method is listed, run in a sweep, and analyzed with the README's pandas code.
    """
    for package in ("trainables", "tuner", "analysis"):
        shutil.copytree(ROOT / package, tmp_path / "sparsweep" / package, ignore=shutil.ignore_patterns("__pycache__"))
    example = block("python", "@sparsifiers.register")
    path = re.match(r"# (\S+)\n", example)
    assert path
    (tmp_path / "sparsweep" / path[1]).write_text(example)
    (tmp_path / "mine.yaml").write_text(
        "base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, data_ratio: .2, seed: [0, 1]}\n"
        "grids: [{sparsifier: dense}, {sparsifier: magnitude_at_init, sparsity: [.5, .9]}]\n"
    )

    def python(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, *arguments]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert process.returncode == 0, process.stderr
        return process.stdout

    command = ("-m", "sparsweep.tuner.cli.app")
    assert re.search(r"^magnitude_at_init +The largest initial", python(*command, "list", "sparsifiers"), re.M)
    assert "6 trials: 6 done" in python(*command, "run", "mine.yaml")
    trials = pd.read_parquet(tmp_path / "runs/results/trials")
    pruned = trials[trials["sparsifier"] == "magnitude_at_init"]
    assert (pruned["density"] * 77_072).round().tolist() == ((1 - pruned["sparsity"]) * 77_072).round().tolist()

    (tmp_path / "analyse.py").write_text(block("python", "pivot_table").replace("quickstart", "mine"))
    printed = python("analyse.py")
    assert "magnitude_at_init" in printed
    assert len(re.findall(r"magnitude_at_init +0\.[59]|^ +0\.9", printed, re.MULTILINE)) >= 2
