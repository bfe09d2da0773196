"""The command that goes on with a sweep repeats the options of the one that was stopped."""

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


def called(command: str, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """What a call of run or resume would launch."""
    launched: list[RunOptions] = []
    monkeypatch.setattr(sweeps, "run_sweep", lambda launch, *more, **options: launched.append(launch))
    monkeypatch.setattr(sweeps, "remake_artifacts", lambda launch, *more: launched.append(launch))
    monkeypatch.setattr(sys, "argv", ["sparsweep", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return launched[0]


def test_all_options_are_repeated_that_resume_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = called(f"run mine.yaml {OPTIONS} --profile-trial 3f --set retries=1", monkeypatch)
    assert launch.fail_fast and launch.resume_command.startswith("sparsweep resume mine ")
    given, repeated = shlex.split(OPTIONS), shlex.split(launch.resume_command)[3:]
    assert sorted(repeated) == sorted(given)
    store = Store("my runs")
    write_results(store, parse_sweep(SWEEP, "mine"))
    again = called(
        launch.resume_command.removeprefix("sparsweep "), monkeypatch
    )  # it can be called, and means the same
    assert (again.address, again.trackers, again.fail_fast) == (launch.address, launch.trackers, True)
    assert again.resume_command == launch.resume_command
    remake = called("resume mine --storage 'my runs' --remake weights", monkeypatch)
    assert remake.resume_command == "sparsweep resume mine --storage 'my runs' --remake weights"


def test_what_was_not_given_is_not_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called("run mine.yaml", monkeypatch).resume_command == "sparsweep resume mine"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_that_was_stopped_says_how_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signum: signal.Signals
) -> None:
    def stopped(*arguments: Any) -> None:
        raise Stopped(signum)

    monkeypatch.setattr(driver, "execute", stopped)
    monkeypatch.setattr(sys, "argv", ["sparsweep", "run", "mine.yaml", "--storage", "there", "--fail-fast"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 128 + signum
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("Continue: sparsweep resume mine --storage there --fail-fast")


def test_signals_stop_a_sweep_and_one_that_is_ignored_does_not() -> None:
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
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
    ("raised", "said"),
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
def test_whatever_keeps_ray_from_starting_is_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    said: str,
) -> None:
    def start(**options: Any) -> None:
        raise raised

    monkeypatch.setattr(ray_cluster.ray, "init", start)
    monkeypatch.setattr(sys, "argv", ["sparsweep", "run", "mine.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    first, last = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and first == "mine: 2 runs to do, 0 of 2 already finished"
    assert last.startswith("sparsweep: --address local: Ray did not start: ") and said in last and len(last) < 600
    folder_of_logs = Path(last.rpartition(": ")[2])
    assert folder_of_logs.is_dir() and folder_of_logs.name.startswith("d-")


def test_a_signal_while_ray_starts_is_no_failure_to_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: Any) -> None:
        signal.raise_signal(signal.SIGHUP)

    def ended(**options: Any) -> None:
        raise SystemExit(signal.SIGTERM)  # by the handler that ray.init sets

    for begin, signum in ((start, signal.SIGHUP), (ended, signal.SIGTERM)):
        monkeypatch.setattr(ray_cluster.ray, "init", begin)
        with stop_signals(), pytest.raises(Stopped) as stopped:
            ray_cluster.connect("local", {"_temp_dir": "somewhere"})
        assert stopped.value.signum == signum
