"""Lost machines: killed, temporarily unreachable, and the head with its control store.

A lost machine does not count as a failure of its trials.
"""

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
"""Ray declares an unresponsive machine dead after about 10 s instead of 66 s."""


@contextmanager
def two_machines(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Start a separate cluster for one test and stop it at the end."""
    workspace.environment = {**QUICK, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    environment = {**os.environ, "SPARSWEEP_TEST": workspace.mark, "RAY_AUTH_MODE": "disabled", **workspace.environment}
    command = [sys.executable, str(Path(two_machines_script.__file__))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as cluster:
        assert cluster.stdout is not None
        yield json.loads(next(line for line in cluster.stdout if line.startswith("{")))
        cluster.communicate(timeout=60)
    wait_until(lambda: not list(workspace.processes()), "the end of the cluster", LINGER_SECONDS)


def children(parent: int) -> list[int]:
    """Return the ids of the child processes of ``parent``."""
    ps = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in ps.stdout.split()]


def training_machine(workspace: Workspace, raylets: list[int]) -> int | None:
    """Return the raylet of a machine that trains while a checkpoint exists, or None."""
    workers = set(workspace.workers()) if workspace.has_checkpoint() else set()
    return next((raylet for raylet in raylets if workers & set(children(raylet))), None)


def log(workspace: Workspace) -> str:
    return (workspace.store.read("sweeps/hurt/log.txt") or b"").decode()


def killed(workspace: Workspace, raylet: int) -> None:
    """Kill the machine's raylet. Its workers exit too."""
    os.kill(raylet, signal.SIGKILL)


def stopped(workspace: Workspace, raylet: int) -> None:
    """Stop the machine's processes until Ray declares it dead, then continue them."""
    pids = [raylet, *children(raylet)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "retrying" in log(workspace), "a retry of the machine's trial")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("lose", [killed, stopped], ids=lambda lose: lose.__name__)
def test_trials_of_a_lost_machine_continue_elsewhere(
    lose: Callable[[Workspace, int], None], tmp_path: Path, undisturbed: Path
) -> None:
    """The sweep allows no retries, but a lost machine does not count as a failure of the trial."""
    workspace = create_workspace(tmp_path)
    with two_machines(workspace) as cluster:
        driver = workspace.start("run", "hurt.yaml", "--address", cluster["address"], "--set", "retries=0")
        wait_until(lambda: training_machine(workspace, cluster["raylets"]), "a trial on one of the machines")
        machine = training_machine(workspace, cluster["raylets"])
        assert machine is not None
        lose(workspace, machine)
        assert driver.wait(timeout=480) == 0, workspace.output
    assert "retrying" in log(workspace) and "ActorDiedError" in log(workspace)
    assert_same_results(tmp_path / "runs", undisturbed)
    assert not workspace.store.failures()


def test_a_resume_completes_a_sweep_whose_head_was_lost(tmp_path: Path, undisturbed: Path) -> None:
    """Driver and cluster exit. Finished trials are kept, and a resume elsewhere gives the undisturbed results."""
    workspace = create_workspace(tmp_path)
    with two_machines(workspace) as cluster:
        driver = workspace.start("run", "hurt.yaml", "--address", cluster["address"])
        wait_until(workspace.halfway, "a finished trial and an unfinished one")
        os.kill(cluster["control store"], signal.SIGKILL)
        assert driver.wait(timeout=480) != 0
    finished = workspace.row_times()
    assert finished
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(tmp_path / "runs", undisturbed)
    assert finished.items() <= workspace.row_times().items()
