"""Layer lists of networks that do not declare them. A short-lived process computes them once, then they are cached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NETWORK = '''
from typing import Any, Literal
from sparsweep.trainables.models import Model, models

@models.register
class Theirs(Model):
    """A linear layer on four pixels."""

    name: Literal["theirs"] = "theirs"
    channels = 1
    min_size = 2
    width: int = 5

    def build(self, classes: int, statistics: Any) -> Any:
        from torch import nn

        print("a word on standard output")
        return nn.Sequential(nn.Flatten(), nn.Linear(4, self.width), nn.Linear(self.width, classes))
'''

PROGRAM = """
import json, subprocess, sys
from sparsweep.trainables import plugins
from sparsweep.trainables.models import models
from sparsweep.trainables.models import measured
plugins.load_plugins(["their_network"])
started = []
run = subprocess.run
def counted(*arguments, **options):
    started.append(1)
    return run(*arguments, **options)
measured.subprocess.run = counted
layers = models.parse({"name": "theirs", "width": int(sys.argv[1])}).layers(3, (1, 2, 2))
print(json.dumps({"layers": layers, "started": len(started), "torch": "torch" in sys.modules}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "their_network.py").write_text(NETWORK)
    return tmp_path


def measure(folder: Path, width: int = 5, **environment: str) -> dict[str, Any]:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", os.getcwd())])
    settings = {**os.environ, "HOME": str(folder), "PYTHONPATH": path, **environment}
    command = [sys.executable, "-c", PROGRAM, str(width)]
    completed = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    return dict(json.loads(completed.stdout.splitlines()[-1]))


def test_layers_are_measured_once_and_cached(folder: Path) -> None:
    expected = [["1.weight", [5, 4], 40], ["2.weight", [3, 5], 30]]
    assert measure(folder) == {"layers": expected, "started": 1, "torch": False}
    assert measure(folder) == {"layers": expected, "started": 0, "torch": False}
    assert measure(folder, width=6)["started"] == 1


def test_changed_code_is_measured_again(folder: Path) -> None:
    measure(folder)
    (folder / "their_network.py").write_text(
        NETWORK.replace("nn.Linear(4, self.width)", "nn.Linear(4, self.width, False)")
    )
    assert measure(folder)["started"] == 1


def test_damaged_cache_file_is_measured_again(folder: Path) -> None:
    first = measure(folder)
    (cached,) = (folder / ".cache/sparsweep/layers").iterdir()
    for content in ("", "{", "[[1]]", '[["a", 3, 4]]', "\0"):
        cached.write_text(content)
        assert measure(folder) == first


def test_layers_are_measured_each_time_without_a_cache_folder(folder: Path) -> None:
    (folder / ".cache").write_text("a file instead of the folder")
    assert [measure(folder)["started"] for _ in range(2)] == [1, 1]


def test_error_in_the_measuring_process_is_raised(folder: Path) -> None:
    (folder / "their_network.py").write_text(NETWORK.replace("nn.Flatten()", "nn.Missing()"))
    with pytest.raises(AssertionError, match=r"AttributeError: module 'torch\.nn' has no attribute 'Missing'"):
        measure(folder)
