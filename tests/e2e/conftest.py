"""The command as a user runs it: a process of its own, in an empty folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command import COMMAND


@pytest.fixture
def sparsweep(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end in an empty folder."""

    def call(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, cwd=tmp_path, check=False
        )

    return call
