"""The chaos command, for a minute."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_minute_of_chaos(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("chaos.py")), "smoke", "--folder", str(tmp_path)]
    ran = subprocess.run(
        [*command, "--minutes", "1", "--every", "12", "--seed", "7"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^12 trials equal those of the undisturbed run, bit for bit, after \{'SIG", ran.stdout, re.M)
