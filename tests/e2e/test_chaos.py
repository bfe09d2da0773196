"""The chaos command runs for one minute without an error."""

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
def test_results_are_identical_after_a_minute_of_chaos(tmp_path: Path) -> None:
    command = [sys.executable, "-m", chaos.__name__, "smoke", "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run(
        [*command, "--minutes", "1", "--every", "12", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert re.search(r"^12 trials equal those of the undisturbed run, bit for bit, after \{'SIG", process.stdout, re.M)
