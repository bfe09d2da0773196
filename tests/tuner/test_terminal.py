"""Nothing that comes from a storage steers the terminal, and no reader that goes away ends a command."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli.status_view import render
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.planning.status import sweep_status
from sparsweep.tuner.terminal import lasting_messages, printable
from support.fake_results import write_results

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense, seed: [0, 1]}]
"""
STEERING = {
    "color": "\x1b[31m",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x1b\\",
    "one byte": "\x9b31m",
    "overwrite": "\r",
    "backspace": "\b",
    "direction": "\u202e",
    "invisible": "\u200b",
    "half a character": "\ud800",
}


@pytest.mark.parametrize("steering", STEERING.values(), ids=STEERING)
def test_control_characters_are_left_out(steering: str) -> None:
    assert not set(steering) & set("\x1b\x9b\r\b\u202e\u200b\ud800\x07") & set(printable(f"one{steering}two"))
    kept = "é 世 😀\t\n"
    assert printable(f"one{steering}two{kept}").endswith(f"two{kept}") and printable(steering + kept).endswith(kept)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def failed(store: Store) -> str:
    """A trial whose error, log and sweep's file name are full of them."""
    sweep = parse_sweep(SWEEP, "mine")
    write_results(store, sweep, leave_out=1)
    trial = list(sweep.trials)[-1]
    hostile = "".join(STEERING[name] for name in STEERING if name != "half a character")
    store.write_failure(trial, "mine", RuntimeError(f"it {hostile} broke"))
    store.write(f"logs/{trial}.txt", f"2024 {hostile} began\n".encode() + b"\xff\n")
    return trial


@pytest.mark.parametrize("command", ["status", "status mine", "show {trial}", "logs {trial}", "show {hostile}"])
def test_no_command_prints_them(
    store: Store, failed: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = [part.format(trial=failed, hostile=STEERING["color"]) for part in command.split()]
    monkeypatch.setattr(sys, "argv", ["sparsweep", *call, "--storage", store.root])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert said.out + said.err == printable(said.out + said.err) != ""


def test_json_and_the_live_view_hold_none(store: Store, failed: str) -> None:
    sweep = parse_sweep(SWEEP, "mine")
    facts: dict[str, Any] = sweep_status(sweep, store)
    assert json.dumps(facts, ensure_ascii=False) == printable(json.dumps(facts, ensure_ascii=False))
    file = io.StringIO()
    Console(file=file, force_terminal=False, width=200).print(render(facts))
    assert "broke" in file.getvalue() and file.getvalue() == printable(file.getvalue())


# Readers that go away -------------------------------------------------------------------------------------------------

LIST = [sys.executable, "-m", "sparsweep.tuner.cli.app", "list", "sweeps"]


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_a_pipe_that_nobody_reads_ends_nothing(where: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code = "from sparsweep.tuner.cli import app\napp.main()"
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, where: writing}
        run = subprocess.run([sys.executable, "-c", code, "list", "sweeps"], **streams, text=True, check=False)
    finally:
        os.close(writing)
    assert (run.returncode, run.stderr or "") == (0, "")
    assert where == "stdout" or "quickstart" in run.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("call", ["list sweeps", "list sweeps --json", "data list", "--help"])
def test_a_disk_that_is_full_is_one_line(call: str) -> None:
    with open("/dev/full", "w") as full:
        command = [*LIST[:3], *call.split()]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert run.stderr.startswith("sparsweep: cannot read or write: [Errno 28] No space left on device")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_a_stream_that_was_closed_before(closed: str) -> None:
    command = f"{sys.executable} -m tuner.cli.app show 0 --storage /dev/null {closed}"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and run.stdout == "" and "Traceback" not in run.stderr


def test_characters_that_the_terminal_lacks_are_escaped(store: Store) -> None:
    store.write("logs/0123.txt", "é 世".encode())
    command = [*LIST[:3], "logs", "0", "--storage", store.root]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    run = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (run.returncode, run.stdout) == (0, b"\xe9 \\u4e16\n")


def test_whatever_writes_messages_outlives_their_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal that is closed fails with EIO; a progress bar writes to it from a thread of its own."""

    class Closed(io.StringIO):
        failures = 0

        def write(self, text: str) -> int:
            Closed.failures += 1
            raise OSError(errno.EIO, "Input/output error")

        flush = write  # type: ignore[assignment]

        def fileno(self) -> int:
            return spare

    with (tmp_path / "spare").open("w") as file:
        spare = file.fileno()
        monkeypatch.setattr(Closed, "flush", lambda self: None)
        monkeypatch.setattr(sys, "stderr", Closed())
        with lasting_messages():
            print("lost", file=sys.stderr)
            Console(stderr=True).print("lost, too")
        assert Closed.failures >= 2
        assert os.readlink(f"/proc/self/fd/{spare}") == os.devnull
