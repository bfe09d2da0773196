"""Processes that die: the driver at any time, a trial's, one that hangs. Nothing finished is lost or done again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from support.cli import assert_same_results
from support.fault_injection import TRIALS, Ground, kill, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def resumed_equals(ground: Ground, undisturbed: Path) -> None:
    """A resume ends well, does nothing that was done, and all tables are those of a run that was not disturbed."""
    before = ground.written()
    assert ground.finish("resume", "hurt") == 0, ground.said
    assert_same_results(ground.local(), undisturbed)
    assert before.items() <= ground.written().items()
    assert not ground.store.checkpoints()


def soon(ground: Ground) -> bool:
    return bool(list(ground.processes()))


def at_the_end(ground: Ground) -> bool:
    return len(ground.store.finished()) == TRIALS


@pytest.mark.parametrize("moment", [soon, Ground.begun, Ground.halfway, at_the_end], ids=lambda moment: moment.__name__)
def test_the_driver_is_killed(moment: Callable[[Ground], bool], ground: Ground, undisturbed: Path) -> None:
    driver = ground.start("run", "hurt.yaml")
    wait_until(lambda: moment(ground), moment.__name__)
    kill(driver)
    if moment is soon:  # before it kept the sweep: there is nothing to go on with by name
        assert ground.finish("run", "hurt.yaml") == 0, ground.said
    resumed_equals(ground, undisturbed)


SLOW_WRITES = '''
"""Every first write of a row of results stops half-way, with half of it on the disk, until its process is killed."""
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


def test_the_driver_is_killed_while_a_record_is_written(ground: Ground, undisturbed: Path) -> None:
    (ground.folder / "slow_writes.py").write_text(SLOW_WRITES)
    ground.environment = {
        "PYTHONPATH": os.pathsep.join([str(ground.folder), os.environ.get("PYTHONPATH", os.getcwd())])
    }
    driver = ground.start("run", "hurt.yaml", "--plugin", "slow_writes")
    wait_until(lambda: list(ground.folder.glob("runs/results/*/_*")), "half a record")
    kill(driver)
    assert not ground.store.finished()
    ground.environment = {}
    resumed_equals(ground, undisturbed)


def test_a_trials_process_is_killed(ground: Ground, undisturbed: Path) -> None:
    """The worker dies, its trial goes on elsewhere, and no failure is held against it."""
    driver = ground.start("run", "hurt.yaml")
    wait_until(ground.begun, "a checkpoint")
    ground.kill_workers()
    assert driver.wait(timeout=480) == 0, ground.said
    assert_same_results(ground.folder / "runs", undisturbed)
    log = (ground.folder / "runs/sweeps/hurt/log.txt").read_text()
    assert "retrying" in log and "ActorDiedError" in log


def test_a_process_that_is_killed_each_time_fails_with_its_reason(ground: Ground) -> None:
    """As the kernel's out-of-memory killer does it: the others finish, what needs it is blocked, a resume mends it."""
    (ground.folder / "greedy.py").write_text(
        "import os, signal\nfrom sparsweep.trainables.runs import base\n"
        "once = base.TrainingRun.train_epoch\n"
        "def epoch(self):\n"
        "    if getattr(self.spec, 'seed', 0) == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    once(self)\n"
        "base.TrainingRun.train_epoch = epoch\n"
    )
    ground.environment = {
        "PYTHONPATH": os.pathsep.join([str(ground.folder), os.environ.get("PYTHONPATH", os.getcwd())])
    }
    assert ground.finish("run", "hurt.yaml", "--plugin", "greedy", "--set", "retries=1") == 1
    assert len(ground.store.finished()) == TRIALS - 1
    (failure,) = ground.store.failures().values()
    assert failure["error"] == "ActorDiedError" and "OOM killer" in failure["message"]
    ground.environment = {}
    assert ground.finish("resume", "hurt") == 0, ground.said


def test_a_trial_that_hangs_is_killed_and_goes_on(ground: Ground, undisturbed: Path) -> None:
    """Stopped as it is, it can do nothing for itself, neither train nor end."""
    driver = ground.start("run", "hurt.yaml", "--set", "resources.trial_timeout=20")
    wait_until(ground.begun, "a checkpoint")
    ground.kill_workers(signal.SIGSTOP, count=1)
    assert driver.wait(timeout=480) == 0, ground.said
    assert_same_results(ground.folder / "runs", undisturbed)
    assert "TrialTimeout: no epoch ended within 20 s" in (ground.folder / "runs/sweeps/hurt/log.txt").read_text()


def test_a_trial_that_always_hangs_fails_by_name(ground: Ground) -> None:
    (ground.folder / "hang.py").write_text(
        "import time\nfrom sparsweep.trainables.runs import base\n"
        "base.TrainingRun.train_epoch = lambda self: time.sleep(600)\n"
    )
    ground.environment = {
        "PYTHONPATH": os.pathsep.join([str(ground.folder), os.environ.get("PYTHONPATH", os.getcwd())])
    }
    settings = ("--set", "resources.trial_timeout=15", "--set", "retries=0", "--set", "difficulty=none")
    assert ground.finish("run", "hurt.yaml", "--plugin", "hang", *settings) == 1
    errors = {row["error"] for row in ground.store.failures().values()}
    assert errors == {"TrialTimeout"}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(signum: signal.Signals, anywhere: Ground, undisturbed: Path) -> None:
    ground = anywhere
    driver = ground.start("run", "hurt.yaml")
    wait_until(ground.begun, "a checkpoint")
    driver.send_signal(signum)
    assert driver.wait(timeout=60) == 128 + signum
    wait_until(lambda: not list(ground.processes()), "an end of all processes", 30)
    resumed_equals(ground, undisturbed)


def test_two_drivers_of_one_sweep(anywhere: Ground, undisturbed: Path) -> None:
    """Started at once: one has it, the other says who."""
    both = [anywhere.start("run", "hurt.yaml") for _ in range(2)]
    assert sorted(driver.wait(timeout=480) for driver in both) == [0, 2], anywhere.said
    assert "hurt is being run here by process" in anywhere.said
    assert_same_results(anywhere.local(), undisturbed)


def test_a_stopped_driver_keeps_its_sweep_until_another_takes_it_over(ground: Ground, undisturbed: Path) -> None:
    """Ctrl-Z for longer than any lease; when it goes on, it finds that it has lost the sweep, and ends."""
    first = ground.start("run", "hurt.yaml")
    wait_until(ground.begun, "a checkpoint")
    first.send_signal(signal.SIGSTOP)
    assert ground.finish("resume", "hurt") == 2
    assert "--take-over" in ground.said
    assert ground.finish("resume", "hurt", "--take-over") == 0, ground.said
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=120) == 128 + signal.SIGTERM
    assert "hurt was taken over by a driver that has exited since. This driver exits." in ground.said
    assert_same_results(ground.folder / "runs", undisturbed)


def test_two_sweeps_that_share_their_trials(anywhere: Ground, undisturbed: Path) -> None:
    """At once in one storage: each trial may be trained by both, and both have the same to say of it."""
    ground = anywhere
    (ground.folder / "other.yaml").write_text((ground.folder / "hurt.yaml").read_text().replace("name: hurt", ""))
    both = [ground.start("run", name) for name in ("hurt.yaml", "other.yaml")]
    assert [driver.wait(timeout=480) for driver in both] == [0, 0], ground.said
    assert_same_results(ground.local(), undisturbed)
    assert len(pd.read_parquet(ground.local() / "results/trials")) == TRIALS
