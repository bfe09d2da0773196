"""The chaos command, for a minute."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import chaos


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_minute_of_chaos(tmp_path: Path) -> None:
    command = [sys.executable, "-m", chaos.__name__, "smoke", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [*command, "--minutes", "1", "--every", "12", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^12 trials equal those of the undisturbed run, bit for bit, after \{'SIG", ran.stdout, re.M)
