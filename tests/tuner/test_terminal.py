"""Text from a storage cannot control the terminal, and a closed output stream does not fail a command."""

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
CONTROL_SEQUENCES = {
    "color": "\x1b[31m",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x1b\\",
    "one byte": "\x9b31m",
    "overwrite": "\r",
    "backspace": "\b",
    "direction": "\u202e",
    "invisible": "\u200b",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("sequence", CONTROL_SEQUENCES.values(), ids=CONTROL_SEQUENCES)
def test_control_characters_are_removed(sequence: str) -> None:
    assert not set(sequence) & set("\x1b\x9b\r\b\u202e\u200b\ud800\x07") & set(printable(f"one{sequence}two"))
    suffix = "é 世 😀\t\n"
    assert printable(f"one{sequence}two{suffix}").endswith(f"two{suffix}") and printable(sequence + suffix).endswith(
        suffix
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def failed(store: Store) -> str:
    """Failed trial whose error and log contain control sequences."""
    sweep = parse_sweep(SWEEP, "mine")
    write_results(store, sweep, leave_out=1)
    trial = list(sweep.trials)[-1]
    sequences = "".join(CONTROL_SEQUENCES[name] for name in CONTROL_SEQUENCES if name != "lone surrogate")
    store.write_failure(trial, "mine", RuntimeError(f"it {sequences} broke"))
    store.write(f"logs/{trial}.txt", f"2024 {sequences} began\n".encode() + b"\xff\n")
    return trial


@pytest.mark.parametrize("command", ["status", "status mine", "show {trial}", "logs {trial}", "show {sequences}"])
def test_commands_print_no_control_characters(
    store: Store, failed: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = [part.format(trial=failed, sequences=CONTROL_SEQUENCES["color"]) for part in command.split()]
    monkeypatch.setattr(sys, "argv", ["sparsweep", *call, "--storage", store.root])
    with pytest.raises(SystemExit):
        cli.main()
    captured = capsys.readouterr()
    assert captured.out + captured.err == printable(captured.out + captured.err) != ""


def test_json_and_live_view_contain_no_control_characters(store: Store, failed: str) -> None:
    sweep = parse_sweep(SWEEP, "mine")
    facts: dict[str, Any] = sweep_status(sweep, store)
    assert json.dumps(facts, ensure_ascii=False) == printable(json.dumps(facts, ensure_ascii=False))
    file = io.StringIO()
    Console(file=file, force_terminal=False, width=200).print(render(facts))
    assert "broke" in file.getvalue() and file.getvalue() == printable(file.getvalue())


# Closed streams -----------------------------------------------------------------------------------------------------

LIST = [sys.executable, "-m", "sparsweep.tuner.cli.app", "list", "sweeps"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_closed_pipe_does_not_fail_a_command(stream: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        code = "from sparsweep.tuner.cli import app\napp.main()"
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write_end}
        run = subprocess.run([sys.executable, "-c", code, "list", "sweeps"], **streams, text=True, check=False)
    finally:
        os.close(write_end)
    assert (run.returncode, run.stderr or "") == (0, "")
    assert stream == "stdout" or "quickstart" in run.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full does not exist")
@pytest.mark.parametrize("call", ["list sweeps", "list sweeps --json", "data list", "--help"])
def test_full_disk_prints_one_line(call: str) -> None:
    with open("/dev/full", "w") as full:
        command = [*LIST[:3], *call.split()]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert run.stderr.startswith("sparsweep: cannot read or write: [Errno 28] No space left on device")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_stream_closed_before_the_start_gives_no_traceback(closed: str) -> None:
    command = f"{sys.executable} -m tuner.cli.app show 0 --storage /dev/null {closed}"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and run.stdout == "" and "Traceback" not in run.stderr


def test_characters_outside_the_output_encoding_are_escaped(store: Store) -> None:
    store.write("logs/0123.txt", "é 世".encode())
    command = [*LIST[:3], "logs", "0", "--storage", store.root]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    run = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (run.returncode, run.stdout) == (0, b"\xe9 \\u4e16\n")


def test_messages_to_a_closed_terminal_are_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A closed terminal raises EIO. A progress bar writes to the terminal from a separate thread."""

    class ClosedTerminal(io.StringIO):
        failures = 0

        def write(self, text: str) -> int:
            ClosedTerminal.failures += 1
            raise OSError(errno.EIO, "Input/output error")

        flush = write  # type: ignore[assignment]

        def fileno(self) -> int:
            return descriptor

    with (tmp_path / "spare").open("w") as file:
        descriptor = file.fileno()
        monkeypatch.setattr(ClosedTerminal, "flush", lambda self: None)
        monkeypatch.setattr(sys, "stderr", ClosedTerminal())
        with lasting_messages():
            print("lost", file=sys.stderr)
            Console(stderr=True).print("lost, too")
        assert ClosedTerminal.failures >= 2
        assert os.readlink(f"/proc/self/fd/{descriptor}") == os.devnull
