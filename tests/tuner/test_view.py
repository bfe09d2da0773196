"""Live view of a sweep at common terminal widths."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from sparsweep.tuner.cli.status_view import render

RUNNING = {"trial": "4e16ddef00112233", "what": "dense on digits/resnet8 el2n 1 seed 0", "epoch": 3, "epochs": 15}
REPORT: dict[str, Any] = {
    "sweep": "mine",
    "trials": 1022,
    "done": 511,
    "running": 2,
    "failed": 1,
    "blocked": 1,
    "pending": 507,
    "alive": True,
    "seconds_left": 190.0,
    "running_now": [
        {**RUNNING, "test_accuracy": 0.9139, "images_per_second": 1190.0, "node": "one"},
        {**RUNNING, "trial": "28044def8d1da2ca", "epoch": 0},
    ],
    "failures": [
        {
            "trial": "aa44def8d1da2ca0",
            "what": "dense on digits/resnet8 el2n 1 seed 1",
            "error": "OSError",
            "message": "it went\nwrong: " + "a very long story " * 20,
            "attempt": 2,
            "node": "two",
        }
    ],
    "blocked_by": [{"trial": "bb44def8d1da2ca0", "what": "lth 0.8", "by": "aa44def8d1da2ca0"}],
}


def render_lines(width: int, **changes: Any) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render({**REPORT, **changes}))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_view_shows_progress_running_failed_and_blocked_trials() -> None:
    lines = render_lines(110)
    assert lines[0] == "mine  1,022 trials  511 done  2 running  1 failed  1 blocked  507 pending"
    assert lines[1].startswith("━") and lines[1].endswith("50%  ETA 3 min 10 s  1,190 images/s")
    assert lines[3].split() == ["running", "what", "epoch", "accuracy", "images/s", "node"]
    assert lines[4].split() == ["4e16ddef", *RUNNING["what"].split(), "3/15", "0.9139", "1,190", "one"]
    assert lines[5].split()[-1] == "0/15"
    assert lines[7:9] == ["failed", "aa44def8  dense on digits/resnet8 el2n 1 seed 1, attempt 2 on two"]
    assert lines[9].startswith("          OSError: wrong: a very long story")
    assert lines[11:] == ["blocked", "bb44def8  lth 0.8 waits for aa44def8 (dense on digits/resnet8 el2n 1 seed 1)"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_lines_fit_the_width_and_ids_are_complete(width: int) -> None:
    lines = render_lines(width)
    assert len(lines) == len(render_lines(110)) and max(map(len, lines)) <= width
    assert {line[:8] for line in lines} >= {"4e16ddef", "28044def", "aa44def8", "bb44def8"}


def test_hidden_rows_are_counted() -> None:
    lines = render_lines(110, running_now=[RUNNING] * 12, failures=[*REPORT["failures"] * 13])
    assert [line.strip() for line in lines if "more" in line] == ["and 2 more", "and 3 more"]


def test_sweep_without_driver_shows_the_resume_command() -> None:
    lines = render_lines(110, alive=False, running_now=[], seconds_left=None)
    assert lines[1].endswith("50%  not running: sparsweep resume mine")
    assert not render_lines(110, alive=False, done=1022, running_now=[], seconds_left=None)[1].endswith("mine")
