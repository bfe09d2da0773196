"""Nothing that comes from a storage steers the terminal."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from written import write_results

from trainables.store import Store
from tuner import cli
from tuner.status import report
from tuner.sweep import parse
from tuner.terminal import printable
from tuner.view import view

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
    sweep = parse(SWEEP, "mine")
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
    sweep = parse(SWEEP, "mine")
    facts: dict[str, Any] = report(sweep, store)
    assert json.dumps(facts, ensure_ascii=False) == printable(json.dumps(facts, ensure_ascii=False))
    file = io.StringIO()
    Console(file=file, force_terminal=False, width=200).print(view(facts))
    assert "broke" in file.getvalue() and file.getvalue() == printable(file.getvalue())
