"""The process with PyTorch beside one without: what it answers, and that it never stays behind."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trainables import beside

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def another_process() -> Iterator[None]:
    """Each test begins and ends without one."""
    beside._drop()
    yield
    beside._drop()


def ended(process: int) -> bool:
    """Whether it ends within ten seconds, be it that nobody has taken note of it yet."""
    for _ in range(100):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def test_one_process_answers_one_question_after_the_other() -> None:
    process = beside.ask(os.getpid)
    assert process != os.getpid() and beside.ask(os.getpid) == process
    assert beside.ask(math.sqrt, 4.0) == 2.0 and beside.ask(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]


def test_what_it_imports_is_what_would_be_imported_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere_defined.py").write_text("def double(value):\n    print(value)\n    return 2 * value\n")
    monkeypatch.syspath_prepend(tmp_path)
    import elsewhere_defined

    assert beside.ask(elsewhere_defined.double, 2) == 4  # whatever it prints


def test_an_error_there_is_an_error_here() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        beside.ask(math.sqrt, -1.0)
    assert beside.ask(math.sqrt, 4.0) == 2.0


def test_it_ends_when_it_is_asked_nothing_more_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "IDLE_SECONDS", 1)
    process = beside.ask(os.getpid)
    assert ended(process)
    assert beside.ask(os.getpid) not in (process, os.getpid())


def test_one_that_dies_over_its_question_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="_exit: the process that was to compute it died"):
        beside.ask(os._exit, 1)
    assert beside.ask(math.sqrt, 4.0) == 2.0


def test_a_question_that_cannot_be_asked_spoils_none_to_come() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        beside.ask(sorted, ["x" * 100_000], key=lambda text: text)
    assert beside.ask(math.sqrt, 4.0) == 2.0


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    beside.ask(math.sqrt, 4.0)

    def interrupted(stream: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pickle, "load", interrupted)
        beside.ask(math.sqrt, 9.0)
    assert beside.ask(math.sqrt, 16.0) == 4.0


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_who_asked(signum: int) -> None:
    code = """
import os, time
from trainables import beside
beside.IDLE_SECONDS = 600
print(beside.ask(os.getpid), flush=True)
time.sleep(60)
"""
    asker = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert asker.stdout is not None
    process = int(asker.stdout.readline())
    asker.send_signal(signum)
    asker.communicate()
    assert ended(process)
