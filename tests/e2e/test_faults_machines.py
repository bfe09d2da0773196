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
from support.fault_injection import LINGER_SECONDS, Workspace, create_workspace, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000"}
"""A silent machine is given up after some ten seconds instead of sixty-six."""


@contextmanager
def two_machines(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """A cluster of its own for one test, gone at its end."""
    workspace.environment = {**QUICK, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    environment = {**os.environ, "SPARSWEEP_TEST": workspace.mark, "RAY_AUTH_MODE": "disabled", **workspace.environment}
    command = [sys.executable, str(Path(two_machines_script.__file__))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as cluster:
        assert cluster.stdout is not None
        yield json.loads(next(line for line in cluster.stdout if line.startswith("{")))
        cluster.communicate(timeout=60)
    wait_until(lambda: not list(workspace.processes()), "an end of the cluster", LINGER_SECONDS)


def children(parent: int) -> list[int]:
    """The processes that ``parent`` started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def that_trains(workspace: Workspace, raylets: list[int]) -> int | None:
    """The machine on which a trial runs that has a checkpoint to lose."""
    at_work = set(workspace.workers()) if workspace.has_checkpoint() else set()
    return next((raylet for raylet in raylets if at_work & set(children(raylet))), None)


def log(workspace: Workspace) -> str:
    return (workspace.store.read("sweeps/hurt/log.txt") or b"").decode()


def killed(workspace: Workspace, raylet: int) -> None:
    """The machine's raylet dies without a word, and with it its workers."""
    os.kill(raylet, signal.SIGKILL)


def cut_off(workspace: Workspace, raylet: int) -> None:
    """The machine stands still until it is given up, then wakes up and goes on with what it did."""
    silent = [raylet, *children(raylet)]
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "retrying" in log(workspace), "giving up the machine")
    for pid in silent:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("lose", [killed, cut_off], ids=lambda lose: lose.__name__)
def test_a_machine_is_lost(lose: Callable[[Workspace, int], None], tmp_path: Path, undisturbed: Path) -> None:
    """Its trial goes on elsewhere though the sweep allows no retry: a loss is not the trial's failure."""
    workspace = create_workspace(tmp_path)
    with two_machines(workspace) as cluster:
        driver = workspace.start("run", "hurt.yaml", "--address", cluster["address"], "--set", "retries=0")
        wait_until(lambda: that_trains(workspace, cluster["raylets"]), "a trial on one of them")
        machine = that_trains(workspace, cluster["raylets"])
        assert machine is not None
        lose(workspace, machine)
        assert driver.wait(timeout=480) == 0, workspace.output
    assert "retrying" in log(workspace) and "ActorDiedError" in log(workspace)
    assert_same_results(tmp_path / "runs", undisturbed)
    assert not workspace.store.failures()


def test_the_head_is_lost_with_its_control_store(tmp_path: Path, undisturbed: Path) -> None:
    """Driver and cluster end; what was finished is kept, and a resume elsewhere ends as if nothing had been."""
    workspace = create_workspace(tmp_path)
    with two_machines(workspace) as cluster:
        driver = workspace.start("run", "hurt.yaml", "--address", cluster["address"])
        wait_until(workspace.halfway, "a finished and a begun trial")
        os.kill(cluster["control store"], signal.SIGKILL)
        assert driver.wait(timeout=480) != 0
    finished = workspace.row_times()
    assert finished
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(tmp_path / "runs", undisturbed)
    assert finished.items() <= workspace.row_times().items()
