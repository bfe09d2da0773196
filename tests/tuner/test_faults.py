"""Any error at any place of a command prints one line to standard error and no traceback."""

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
FAILING = ("export", "data get", "study")
"""Commands that exit with an error here: no weights, a dataset without download, no search."""
HANDLERS = {"terminal.py", "error_lines.py"}
"""Modules that catch and print errors. They are under test, so no error is injected in them."""


class ErrorKinds:
    """Endless cycle of errors of many kinds."""

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
    """Run a command in a new storage with a finished sweep. Return its exit code and standard error."""
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
            with pytest.raises(SystemExit) as exit_info:
                cli.main()
        finally:
            sys.setprofile(None)
        return exit_info.value.code, capfd.readouterr().err

    return run


@cache
def resolved(file: str) -> str:
    """Return the path with links resolved: .ci/names contains links."""
    return str(Path(file).resolve())


def package_file(frame: FrameType | None) -> str | None:
    """Return the file of a frame if it belongs to the package, else None."""
    file = resolved(frame.f_code.co_filename) if frame else ""
    package_folders = tuple(f"{ROOT}/{folder}/" for folder in ("tuner", "trainables", "analysis"))
    return file if file.startswith(package_folders) and Path(file).name not in HANDLERS else None


def collect_calls(functions: dict[CodeType, None]) -> Callable[..., None]:
    """Return a profiler that collects the functions called from another file of the package."""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if (
            event == "call"
            and package_file(frame)
            and package_file(frame.f_back)
            and package_file(frame) != package_file(frame.f_back)
        ):
            functions.setdefault(frame.f_code)

    return profile


def raise_at(function_code: CodeType, error: BaseException) -> Callable[..., None]:
    """Return a profiler that raises ``error`` when ``at`` is called."""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is function_code:
            raise error

    return profile


SHORTER = {"figures mine": "figures mine --figure accuracy_vs_sparsity"}
"""Commands that are slow under a profiler, and their form in the short test."""
FEWER = {"report mine": 2}
"""Number of functions in the short test, for other slow commands."""
EVERY_CALL = pytest.param(10**6, marks=[pytest.mark.faults, pytest.mark.timeout(900)], id="every")


@pytest.mark.parametrize("count", [pytest.param(5, id="some"), EVERY_CALL])
@pytest.mark.parametrize("command", COMMANDS)
def test_error_at_any_cross_file_call_prints_one_line(call: Callable[..., Any], command: str, count: int) -> None:
    if count < 10**6:
        command, count = SHORTER.get(command, command), FEWER.get(command, count)
    call(command)  # the first call imports modules and fills caches
    functions: dict[CodeType, None] = {}
    code, stderr = call(command, collect_calls(functions))
    assert (code, "sparsweep: " in stderr) in ((0, False), (1, False)) or command.startswith(FAILING), stderr
    assert functions or command == "list sweeps"
    kinds, failed = ErrorKinds(), 0
    chosen = list(functions)[:: max(1, len(functions) // count)]
    for function in chosen:
        code, stderr = call(command, raise_at(function, kinds.next()))
        assert "Traceback" not in stderr and '  File "' not in stderr, (function, stderr)
        lines = [line for line in stderr.splitlines() if line.startswith("sparsweep: ")]
        assert (code, len(lines)) in ((0, 0), (1, 0), (2, 1)), (function, code, stderr)
        failed += code == 2
    assert failed >= len(chosen) / 2  # some calls are guarded, most are not


def test_debug_option_at_any_position_shows_the_traceback(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "finished", lambda self: 1 / 0)
    for command in ("--debug status mine", "status --debug mine", "status mine --debug"):
        code, stderr = call(command)
        assert code == 2 and "Traceback" in stderr
        assert stderr.splitlines()[-1].startswith("sparsweep: unexpected ZeroDivisionError: division by zero in ")
    code, stderr = call("status mine")
    assert len(stderr.splitlines()) == 1 and stderr.endswith("See the traceback with --debug.\n")


@contextmanager
def lines_of(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    lines: list[str] = []
    capfd.readouterr()
    yield lines
    lines += capfd.readouterr().err.splitlines()


def test_threads_and_logs_print_no_traceback(
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
def test_exit_codes_and_lines_of_errors(error: BaseException, code: int, line: str) -> None:
    assert exit_code_and_line(error) == (code, line)


def test_ray_errors_state_that_finished_trials_are_kept() -> None:
    code, line = exit_code_and_line(RaySystemError("x" * 1000))
    assert code == 2 and line.startswith("Ray failed: RaySystemError: ") and "are kept" in line and len(line) < 500


def test_deleted_current_folder_prints_one_line(call: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    deleted = tmp_path / "gone"
    deleted.mkdir()
    monkeypatch.chdir(deleted)
    deleted.rmdir()
    code, stderr = call("list sweeps")
    assert code == 2
    assert stderr == "sparsweep: the current folder was deleted (No such file or directory). Change the folder: cd\n"
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("words", "expected"), [("sparsweep pl", "plan"), ("sparsweep run --take", "--take-over")])
def test_shell_completes_commands_and_options(words: str, expected: str) -> None:
    # Bash requests completions through environment variables. Standard output holds only the words.
    code = "import sys; from sparsweep.tuner.cli.app import main; sys.argv = ['sparsweep']; main()"
    request = {"_SPARSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    env = {**os.environ, **request}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [expected], "")
