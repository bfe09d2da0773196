"""Machines that are lost: killed, cut off and back again, the head with its control store. It is nobody's fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import two_machines as two_machines_script
from support.cli import assert_same_results
from support.fault_injection import LINGER_SECONDS, Ground, wait_until, with_sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000"}
"""A silent machine is given up after some ten seconds instead of sixty-six."""


@contextmanager
def two_machines(ground: Ground) -> Iterator[dict[str, Any]]:
    """A cluster of its own for one test, gone at its end."""
    ground.environment = {**QUICK, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    environment = {**os.environ, "SPARSWEEP_TEST": ground.mark, "RAY_AUTH_MODE": "disabled", **ground.environment}
    command = [sys.executable, str(Path(two_machines_script.__file__))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as cluster:
        assert cluster.stdout is not None
        yield json.loads(next(line for line in cluster.stdout if line.startswith("{")))
        cluster.communicate(timeout=60)
    wait_until(lambda: not list(ground.processes()), "an end of the cluster", LINGER_SECONDS)


def children(parent: int) -> list[int]:
    """The processes that ``parent`` started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def that_trains(ground: Ground, raylets: list[int]) -> int | None:
    """The machine on which a trial runs that has a checkpoint to lose."""
    at_work = set(ground.workers()) if ground.begun() else set()
    return next((raylet for raylet in raylets if at_work & set(children(raylet))), None)


def log(ground: Ground) -> str:
    return (ground.store.read("sweeps/hurt/log.txt") or b"").decode()


def killed(ground: Ground, raylet: int) -> None:
    """The machine's raylet dies without a word, and with it its workers."""
    os.kill(raylet, signal.SIGKILL)


def cut_off(ground: Ground, raylet: int) -> None:
    """The machine stands still until it is given up, then wakes up and goes on with what it did."""
    silent = [raylet, *children(raylet)]
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "retrying" in log(ground), "giving up the machine")
    for pid in silent:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("lose", [killed, cut_off], ids=lambda lose: lose.__name__)
def test_a_machine_is_lost(lose: Callable[[Ground, int], None], tmp_path: Path, undisturbed: Path) -> None:
    """Its trial goes on elsewhere though the sweep allows no retry: a loss is not the trial's failure."""
    ground = with_sweep(tmp_path)
    with two_machines(ground) as cluster:
        driver = ground.start("run", "hurt.yaml", "--address", cluster["address"], "--set", "retries=0")
        wait_until(lambda: that_trains(ground, cluster["raylets"]), "a trial on one of them")
        machine = that_trains(ground, cluster["raylets"])
        assert machine is not None
        lose(ground, machine)
        assert driver.wait(timeout=480) == 0, ground.said
    assert "retrying" in log(ground) and "ActorDiedError" in log(ground)
    assert_same_results(tmp_path / "runs", undisturbed)
    assert not ground.store.failures()


def test_the_head_is_lost_with_its_control_store(tmp_path: Path, undisturbed: Path) -> None:
    """Driver and cluster end; what was finished is kept, and a resume elsewhere ends as if nothing had been."""
    ground = with_sweep(tmp_path)
    with two_machines(ground) as cluster:
        driver = ground.start("run", "hurt.yaml", "--address", cluster["address"])
        wait_until(ground.halfway, "a finished and a begun trial")
        os.kill(cluster["control store"], signal.SIGKILL)
        assert driver.wait(timeout=480) != 0
    finished = ground.written()
    assert finished
    assert ground.finish("resume", "hurt") == 0, ground.said
    assert_same_results(tmp_path / "runs", undisturbed)
    assert finished.items() <= ground.written().items()
