"""Processes that die or hang: the driver at any time, and trials. No finished trial is lost or repeated."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from support.cli import assert_same_results
from support.fault_injection import TRIALS, Workspace, kill, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def check_resume(workspace: Workspace, undisturbed: Path) -> None:
    """Check that a resume succeeds, repeats no finished trial, and gives the tables of an undisturbed run."""
    before = workspace.row_times()
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(workspace.local_copy(), undisturbed)
    assert before.items() <= workspace.row_times().items()
    assert not workspace.store.checkpoints()


def soon(workspace: Workspace) -> bool:
    return bool(list(workspace.processes()))


def at_the_end(workspace: Workspace) -> bool:
    return len(workspace.store.finished()) == TRIALS


@pytest.mark.parametrize(
    "moment", [soon, Workspace.has_checkpoint, Workspace.halfway, at_the_end], ids=lambda moment: moment.__name__
)
def test_the_driver_is_killed(moment: Callable[[Workspace], bool], workspace: Workspace, undisturbed: Path) -> None:
    driver = workspace.start("run", "hurt.yaml")
    wait_until(lambda: moment(workspace), moment.__name__)
    kill(driver)
    if moment is soon:  # the driver has not saved the sweep yet, so `resume` cannot find it by name
        assert workspace.finish("run", "hurt.yaml") == 0, workspace.output
    check_resume(workspace, undisturbed)


SLOW_WRITES = '''
"""Each first write of a row of results hangs after half of the file, until its process is killed."""
import os, pathlib, time
from sparsweep.trainables.storage import files

whole = files.atomic_write

def half(target, content):
    if "/results/" in target and "failures" not in target:
        folder, _, name = target.rpartition("/")
        os.makedirs(folder, exist_ok=True)
        pathlib.Path(f"{folder}/_{name}.torn").write_bytes(content[: len(content) // 2])
        time.sleep(600)
    whole(target, content)

files.atomic_write = half
'''


def test_the_driver_is_killed_during_a_write(workspace: Workspace, undisturbed: Path) -> None:
    workspace.add_plugin("slow_writes", SLOW_WRITES)
    driver = workspace.start("run", "hurt.yaml", "--plugin", "slow_writes")
    wait_until(lambda: list(workspace.folder.glob("runs/results/*/_*")), "a half-written file")
    kill(driver)
    assert not workspace.store.finished()
    workspace.environment = {}
    check_resume(workspace, undisturbed)


def test_a_trial_continues_after_its_worker_is_killed(workspace: Workspace, undisturbed: Path) -> None:
    """The trial continues in another process, and the death of its worker does not count as a failure."""
    driver = workspace.start("run", "hurt.yaml")
    wait_until(workspace.has_checkpoint, "a checkpoint")
    workspace.kill_workers()
    assert driver.wait(timeout=480) == 0, workspace.output
    assert_same_results(workspace.folder / "runs", undisturbed)
    log = (workspace.folder / "runs/sweeps/hurt/log.txt").read_text()
    assert "retrying" in log and "ActorDiedError" in log


def test_a_trial_that_is_killed_at_each_attempt_fails_with_the_reason(workspace: Workspace) -> None:
    """The trial is killed as by the kernel's out-of-memory killer.

    The other trials finish, trials that depend on it are blocked, and a resume repairs the sweep.
    """
    workspace.add_plugin(
        "greedy",
        "import os, signal\nfrom sparsweep.trainables.runs import base\n"
        "once = base.TrainingRun.train_epoch\n"
        "def epoch(self):\n"
        "    if getattr(self.spec, 'seed', 0) == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    once(self)\n"
        "base.TrainingRun.train_epoch = epoch\n",
    )
    assert workspace.finish("run", "hurt.yaml", "--plugin", "greedy", "--set", "retries=1") == 1
    assert len(workspace.store.finished()) == TRIALS - 1
    (failure,) = workspace.store.failures().values()
    assert failure["error"] == "ActorDiedError" and "OOM killer" in failure["message"]
    workspace.environment = {}
    assert workspace.finish("resume", "hurt") == 0, workspace.output


def test_a_trial_that_hangs_is_killed_and_retried(workspace: Workspace, undisturbed: Path) -> None:
    """A stopped process can neither train nor exit."""
    driver = workspace.start("run", "hurt.yaml", "--set", "resources.trial_timeout=20")
    wait_until(workspace.has_checkpoint, "a checkpoint")
    workspace.kill_workers(signal.SIGSTOP, count=1)
    assert driver.wait(timeout=480) == 0, workspace.output
    assert_same_results(workspace.folder / "runs", undisturbed)
    assert "TrialTimeout: no epoch ended within 20 s" in (workspace.folder / "runs/sweeps/hurt/log.txt").read_text()


def test_a_trial_that_always_hangs_fails_with_trial_timeout(workspace: Workspace) -> None:
    workspace.add_plugin(
        "hang",
        "import time\nfrom sparsweep.trainables.runs import base\n"
        "base.TrainingRun.train_epoch = lambda self: time.sleep(600)\n",
    )
    settings = ("--set", "resources.trial_timeout=15", "--set", "retries=0", "--set", "difficulty=none")
    assert workspace.finish("run", "hurt.yaml", "--plugin", "hang", *settings) == 1
    errors = {row["error"] for row in workspace.store.failures().values()}
    assert errors == {"TrialTimeout"}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_processes(signum: signal.Signals, any_workspace: Workspace, undisturbed: Path) -> None:
    workspace = any_workspace
    driver = workspace.start("run", "hurt.yaml")
    wait_until(workspace.has_checkpoint, "a checkpoint")
    driver.send_signal(signum)
    assert driver.wait(timeout=60) == 128 + signum
    wait_until(lambda: not list(workspace.processes()), "the end of all processes", 30)
    check_resume(workspace, undisturbed)


def test_one_of_two_drivers_of_a_sweep_exits(any_workspace: Workspace, undisturbed: Path) -> None:
    """Two drivers start at the same time. One runs the sweep, the other prints the process id of the first."""
    drivers = [any_workspace.start("run", "hurt.yaml") for _ in range(2)]
    assert sorted(driver.wait(timeout=480) for driver in drivers) == [0, 2], any_workspace.output
    assert "hurt is being run here by process" in any_workspace.output
    assert_same_results(any_workspace.local_copy(), undisturbed)


def test_a_stopped_driver_keeps_its_sweep_until_another_takes_it_over(workspace: Workspace, undisturbed: Path) -> None:
    """The first driver is suspended (Ctrl-Z) longer than its lease lasts. When it continues, it exits."""
    first = workspace.start("run", "hurt.yaml")
    wait_until(workspace.has_checkpoint, "a checkpoint")
    first.send_signal(signal.SIGSTOP)
    assert workspace.finish("resume", "hurt") == 2
    assert "--take-over" in workspace.output
    assert workspace.finish("resume", "hurt", "--take-over") == 0, workspace.output
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=120) == 128 + signal.SIGTERM
    assert "hurt was taken over by a driver that has exited since. This driver exits." in workspace.output
    assert_same_results(workspace.folder / "runs", undisturbed)


def test_two_sweeps_with_the_same_trials_run_at_once(any_workspace: Workspace, undisturbed: Path) -> None:
    """Both sweeps use one storage. Both may train the same trial, with identical results."""
    workspace = any_workspace
    (workspace.folder / "other.yaml").write_text((workspace.folder / "hurt.yaml").read_text().replace("name: hurt", ""))
    drivers = [workspace.start("run", name) for name in ("hurt.yaml", "other.yaml")]
    assert [driver.wait(timeout=480) for driver in drivers] == [0, 0], workspace.output
    assert_same_results(workspace.local_copy(), undisturbed)
    assert len(pd.read_parquet(workspace.local_copy() / "results/trials")) == TRIALS
