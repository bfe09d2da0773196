"""The wheel, installed and used outside the repository: a sweep, a plug-in, the cluster files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]

PLUGIN = '''
from typing import Literal

from sparsweep.trainables.sparsifiers.base import sparsifiers
from sparsweep.trainables.sparsifiers.random import Random


@sparsifiers.register
class Mine(Random):
    """Random pruning under another name."""

    name: Literal["mine"] = "mine"
'''


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=environment, timeout=280, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment that shares the libraries of this one, but not its sparsweep.

    Returns:
        The environment's folder of programs.
    """
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    for file in tracked:
        if (ROOT / file).is_file() and file.split("/")[0] not in ("tests", "docs", ".ci"):
            (folder / "source" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / "source" / file)
    build = ("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", folder / "source")
    run(sys.executable, "-m", *build, cwd=folder)
    venv.create(folder / "env", with_pip=False)
    programs = folder / "env/bin"
    site = Path(
        run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # A .pth file makes the packages of these folders importable, but not the editable installation of this repository.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    (wheel,) = (folder / "dist").glob("*.whl")
    install = ("pip", "--python", programs / "python", "install", "--no-deps", "--force-reinstall", wheel)
    run(sys.executable, "-m", *install, cwd=folder)
    return programs


def test_the_wheel_works_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    command = installed / "sparsweep"
    module_path = run(installed / "python", "-c", "import sparsweep.tuner as t; print(t.__file__)", cwd=tmp_path)
    assert str(installed.parent) in module_path and str(ROOT) not in module_path
    assert run(command, "--version", cwd=tmp_path).startswith("sparsweep ")
    assert "12 trials: 12 done" in run(command, "run", "smoke", cwd=tmp_path)
    assert len(pd.read_parquet(tmp_path / "runs/results/trials")) == 12
    (tmp_path / "mine.py").write_text(PLUGIN)
    listed = run(command, "list", "sparsifiers", "--json", "--plugin", "mine", cwd=tmp_path)
    assert {"mine", "rigl"} <= {row["name"] for row in json.loads(listed)}


def test_the_wheel_contains_its_data_files(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files; import json;"
        "names = lambda package: sorted(file.name for file in files(package).iterdir());"
        "print(json.dumps([names(f'sparsweep.{package}') for package in "
        "('tuner.clusters', 'tuner.sweeps', 'analysis.claims', 'analysis.report', 'trainables')]))"
    )
    clusters, sweeps, claims, report, trainables = json.loads(run(installed / "python", "-c", code, cwd=tmp_path))
    for package, found in {
        "tuner/clusters": clusters,
        "tuner/sweeps": sweeps,
        "analysis/claims": claims,
        "analysis/report": report,
    }.items():
        listing = ["git", "ls-files", package]
        tracked = subprocess.run(listing, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
        assert {Path(file).name for file in tracked} <= set(found), package
    assert "py.typed" in trainables
