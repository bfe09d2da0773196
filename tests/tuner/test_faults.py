"""Whatever is raised, wherever a command is: standard error has one line that says so, and never a traceback."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import RaySystemError

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli.error_lines import OneLineFormatter, exit_code_and_line
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.execution import driver
from sparsweep.tuner.hardware import throughput
from support.fake_results import write_results

ROOT = Path(__file__).parent.parent.parent
SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense}, {sparsifier: snip, sparsity: 0.5}]
"""
COMMANDS = [
    "run mine.yaml",
    "resume mine",
    "resume mine --remake scores",
    "plan mine.yaml",
    "status",
    "status mine --json",
    "status mine --watch",
    "figures mine",
    "claims mine",
    "report mine",
    "show {trial}",
    "logs {trial}",
    "export {trial}",
    "compact",
    "gc --yes",
    "list sweeps",
    "data list",
    "data get digits",
    "calibrate mine.yaml",
    "study mine",
]
REFUSED = ("export", "data get", "study")
"""Commands that have nothing to do here, and say so: no weights, a set that is not fetched, no search."""
NET = {"terminal.py", "error_lines.py"}
"""What catches and prints. That it works is what is tested."""


class Kinds:
    """Errors of many kinds, one after the other."""

    def __init__(self) -> None:
        self.next = itertools.cycle(
            [
                lambda: RuntimeError("planted\nin two lines"),
                lambda: ValueError("planted"),
                lambda: KeyError("planted"),
                lambda: OSError(errno.ENOSPC, "planted", "file"),
                lambda: MemoryError(),
                lambda: SystemExit(0),
                lambda: pa.ArrowInvalid("planted"),
                lambda: RecursionError("planted"),
                lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "planted"),
                lambda: AssertionError(),
            ]
        ).__next__


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command in a storage with a finished sweep, which is made anew; return its exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.setattr(driver, "execute", lambda *arguments: None)
    monkeypatch.setattr(throughput, "measure", lambda *arguments: iter(()))
    folders = itertools.count()

    def run(command: str, profile: Callable[..., None] | None = None) -> tuple[Any, str]:
        store = Store(str(tmp_path / f"runs-{next(folders)}"))
        sweep = parse_sweep(SWEEP, "mine")
        write_results(store, sweep, leave_out="run" in command)
        trial = next(iter(sweep.trials))
        store.write(f"logs/{trial}.txt", b"said\n")
        words = [word.format(trial=trial) for word in command.split()]
        storage = [] if words[0] in ("list", "data") else ["--storage", store.root]
        monkeypatch.setattr(sys, "argv", ["sparsweep", *words, *storage])
        capfd.readouterr()
        sys.setprofile(profile)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            sys.setprofile(None)
        return ended.value.code, capfd.readouterr().err

    return run


@cache
def resolved(file: str) -> str:
    """The file behind links: .ci/names has some."""
    return str(Path(file).resolve())


def ours(frame: FrameType | None) -> str | None:
    """The file of a frame, if it is one of the product."""
    file = resolved(frame.f_code.co_filename) if frame else ""
    rooms = tuple(f"{ROOT}/{room}/" for room in ("tuner", "trainables", "analysis"))
    return file if file.startswith(rooms) and Path(file).name not in NET else None


def seams(found: dict[CodeType, None]) -> Callable[..., None]:
    """A profiler that collects the functions that are called from another file of ours."""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and ours(frame) and ours(frame.f_back) and ours(frame) != ours(frame.f_back):
            found.setdefault(frame.f_code)

    return profile


def raising(at: CodeType, error: BaseException) -> Callable[..., None]:
    """A profiler that raises ``error`` when ``at`` is called."""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is at:
            raise error

    return profile


EVERY = pytest.param(10**6, marks=[pytest.mark.faults, pytest.mark.timeout(900)], id="every")


@pytest.mark.parametrize("count", [pytest.param(5, id="some"), EVERY])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_at_any_seam_of_any_command_is_one_line(call: Callable[..., Any], command: str, count: int) -> None:
    call(command)  # imports and caches
    found: dict[CodeType, None] = {}
    code, said = call(command, seams(found))
    assert (code, "sparsweep: " in said) in ((0, False), (1, False)) or command.startswith(REFUSED), said
    assert found or command == "list sweeps"
    kinds, failed = Kinds(), 0
    chosen = list(found)[:: max(1, len(found) // count)]
    for seam in chosen:
        code, said = call(command, raising(seam, kinds.next()))
        assert "Traceback" not in said and '  File "' not in said, (seam, said)
        lines = [line for line in said.splitlines() if line.startswith("sparsweep: ")]
        assert (code, len(lines)) in ((0, 0), (1, 0), (2, 1)), (seam, code, said)
        failed += code == 2
    assert failed >= len(chosen) / 2  # some seams are guarded, most are not


def test_debug_shows_the_traceback_wherever_it_stands(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "finished", lambda self: 1 / 0)
    for command in ("--debug status mine", "status --debug mine", "status mine --debug"):
        code, said = call(command)
        assert code == 2 and "Traceback" in said
        assert said.splitlines()[-1].startswith("sparsweep: unexpected ZeroDivisionError: division by zero in ")
    code, said = call("status mine")
    assert len(said.splitlines()) == 1 and said.endswith("See the traceback with --debug.\n")


@contextmanager
def lines_of(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    lines: list[str] = []
    capfd.readouterr()
    yield lines
    lines += capfd.readouterr().err.splitlines()


def test_other_threads_and_logs_print_no_traceback(
    call: Callable[..., Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    call("list sweeps")
    with lines_of(capfd) as lines:
        thread = threading.Thread(target=lambda: [][0])
        thread.start()
        thread.join()
    assert len(lines) == 1 and lines[0].startswith("sparsweep: unexpected IndexError: list index out of range in ")
    record = logging.LogRecord("x", logging.ERROR, "", 1, "could not\nwrite %s", ("it",), None)
    try:
        raise OSError(errno.ENOSPC, "No space", "file")
    except OSError:
        record.exc_info = sys.exc_info()
    assert OneLineFormatter().format(record) == "could not write it: OSError: [Errno 28] No space: 'file'"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("epochs: must be positive"), 2, "epochs: must be positive"),
        (KeyboardInterrupt(), 130, ""),
        (OSError(errno.ENOSPC, "No space", "f"), 2, "cannot read or write: [Errno 28] No space: 'f'. Free disk space."),
        (OSError("odd"), 2, "cannot read or write: odd"),
        (MemoryError(), 2, "out of memory. Free memory, or use a node with more memory."),
        (SystemExit(0), 2, "unexpected sys.exit(0) before the end of the command"),
        (KeyError("x"), 2, "unexpected KeyError: 'x'. See the traceback with --debug."),
        (AssertionError(), 2, "unexpected AssertionError. See the traceback with --debug."),
    ],
)
def test_what_ends_a_command_in_words(error: BaseException, code: int, line: str) -> None:
    assert exit_code_and_line(error) == (code, line)


def test_errors_of_ray_say_that_the_finished_is_kept() -> None:
    code, line = exit_code_and_line(RaySystemError("x" * 1000))
    assert code == 2 and line.startswith("Ray failed: RaySystemError: ") and "are kept" in line and len(line) < 500


def test_a_folder_that_is_gone_is_said(call: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, said = call("list sweeps")
    assert code == 2
    assert said == "sparsweep: the current folder was deleted (No such file or directory). Change the folder: cd\n"
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("words", "said"), [("sparsweep pl", "plan"), ("sparsweep run --take", "--take-over")])
def test_a_shell_completes_commands_and_options(words: str, said: str) -> None:
    """As bash asks, by the environment; it gets words alone."""
    code = "import sys; from sparsweep.tuner.cli.app import main; sys.argv = ['sparsweep']; main()"
    asked = {"_SPARSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert (found.returncode, found.stdout.split(), found.stderr) == (0, [said], "")
