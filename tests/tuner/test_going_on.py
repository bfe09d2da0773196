"""The printed resume command repeats the options of the stopped command."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli import sweeps
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.execution import driver, ray_cluster
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.execution.signals import STOPPING, Stopped, stop_signals
from support.fake_results import write_results

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense, seed: [0, 1]}]
"""
OPTIONS = (
    "--storage 'my runs' --address 10.0.0.1:6379 --data /big/disk --track tensorboard --track mlflow --fail-fast "
    "--plugin json"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse_call(command: str, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """Return the options with which a call of run or resume would start the sweep."""
    launched: list[RunOptions] = []
    monkeypatch.setattr(sweeps, "run_sweep", lambda launch, *more, **options: launched.append(launch))
    monkeypatch.setattr(sweeps, "remake_artifacts", lambda launch, *more: launched.append(launch))
    monkeypatch.setattr(sys, "argv", ["sparsweep", *shlex.split(command)])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 0
    return launched[0]


def test_resume_command_repeats_all_options_of_resume(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = parse_call(f"run mine.yaml {OPTIONS} --profile-trial 3f --set retries=1", monkeypatch)
    assert launch.fail_fast and launch.resume_command.startswith("sparsweep resume mine ")
    given, repeated = shlex.split(OPTIONS), shlex.split(launch.resume_command)[3:]
    assert sorted(repeated) == sorted(given)
    store = Store("my runs")
    write_results(store, parse_sweep(SWEEP, "mine"))
    # The resume command is valid and gives the same options.
    resumed = parse_call(launch.resume_command.removeprefix("sparsweep "), monkeypatch)
    assert (resumed.address, resumed.trackers, resumed.fail_fast) == (launch.address, launch.trackers, True)
    assert resumed.resume_command == launch.resume_command
    remade = parse_call("resume mine --storage 'my runs' --remake weights", monkeypatch)
    assert remade.resume_command == "sparsweep resume mine --storage 'my runs' --remake weights"


def test_resume_command_omits_options_that_were_not_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_call("run mine.yaml", monkeypatch).resume_command == "sparsweep resume mine"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_sweep_prints_the_resume_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signum: signal.Signals
) -> None:
    def stopped(*arguments: Any) -> None:
        raise Stopped(signum)

    monkeypatch.setattr(driver, "execute", stopped)
    monkeypatch.setattr(sys, "argv", ["sparsweep", "run", "mine.yaml", "--storage", "there", "--fail-fast"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 128 + signum
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.endswith("Continue: sparsweep resume mine --storage there --fail-fast")


def test_signals_stop_a_sweep_unless_ignored() -> None:
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            assert received == []
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stop_signals() as received:
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGHUP)
            assert received == [signal.SIGHUP]
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            Exception("The current node timed out during startup.\nThis may be. "),
            "timed out during startup. This may be",
        ),
        (OSError("AF_UNIX path length cannot exceed 107 bytes: /tmp/x"), "AF_UNIX path length"),
        (SystemExit(1), "1. Retry"),
        (RuntimeError("x" * 1000), " ... Retry".replace(" ...", "")),
    ],
)
def test_failed_start_of_ray_prints_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    message: str,
) -> None:
    def start(**options: Any) -> None:
        raise error

    monkeypatch.setattr(ray_cluster.ray, "init", start)
    monkeypatch.setattr(sys, "argv", ["sparsweep", "run", "mine.yaml"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    first, last_line = capsys.readouterr().err.splitlines()
    assert exit_info.value.code == 2 and first == "mine: 2 runs to do, 0 of 2 already finished"
    assert (
        last_line.startswith("sparsweep: --address local: Ray did not start: ")
        and message in last_line
        and len(last_line) < 600
    )
    log_folder = Path(last_line.rpartition(": ")[2])
    assert log_folder.is_dir() and log_folder.name.startswith("d-")


def test_signal_during_the_start_of_ray_stops_the_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: Any) -> None:
        signal.raise_signal(signal.SIGHUP)

    def start_and_exit(**options: Any) -> None:
        raise SystemExit(signal.SIGTERM)  # raised by the handler that ray.init installs

    for fake_init, signum in ((start, signal.SIGHUP), (start_and_exit, signal.SIGTERM)):
        monkeypatch.setattr(ray_cluster.ray, "init", fake_init)
        with stop_signals(), pytest.raises(Stopped) as stopped:
            ray_cluster.connect("local", {"_temp_dir": "somewhere"})
        assert stopped.value.signum == signum
