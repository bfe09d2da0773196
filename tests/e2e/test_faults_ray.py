"""Behavior of the driver when Ray is lost, when its terminal closes, and when a method raises an error."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsweep.trainables.storage import tables
from sparsweep.tuner.state.driver_lease import read_live_lease
from support.cli import COMMAND
from support.fault_injection import Workspace, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SHORT = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 20}}
grids: [{sparsifier: random, sparsity: 0.5, seed: [0, 1, 2, 3]}]
"""


@pytest.fixture
def short(workspace: Workspace) -> Iterator[Workspace]:
    """Create a sweep of four short trials, with separate temporary and home folders."""
    (workspace.folder / "short.yaml").write_text(SHORT)
    for name in ("home", "data"):
        (workspace.folder / name).mkdir()
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as temporary:
        workspace.environment = {"TMPDIR": temporary, "HOME": str(workspace.folder / "home")}
        yield workspace


def last(workspace: Workspace) -> str:
    return workspace.output.splitlines()[-1]


def base(workspace: Workspace) -> Path:
    return Path(workspace.environment["TMPDIR"]) / f"sparsweep-{os.getuid()}"


@pytest.mark.parametrize(("server", "name"), [("raylet/raylet", "node"), ("gcs/gcs_server", "control store")])
def test_the_driver_exits_when_ray_is_lost(short: Workspace, server: str, name: str) -> None:
    """The driver prints one line within seconds, deletes its lease and leaves no trial running. A resume continues."""
    driver = short.start("run", "short.yaml")
    wait_until(short.has_checkpoint, "a checkpoint")
    (server_pid,) = (pid for pid, command in short.processes() if server in command.split(" ")[0])
    os.kill(server_pid, signal.SIGKILL)
    assert driver.wait(timeout=60) == 2
    assert last(short) == (
        f"sparsweep: lost Ray's {name}. Finished runs are kept. Continue: sparsweep resume short --storage runs"
    )
    assert (
        sum(line.startswith("sparsweep: ") for line in short.output.splitlines()) == 1
        and "Traceback" not in short.output
    )
    assert read_live_lease("short", short.store) is None
    wait_until(lambda: not short.workers(), "the end of all trials")
    assert short.finish("resume", "short") == 0, short.output
    assert len(short.store.finished()) == 4


def test_a_private_cluster_is_closed_to_other_users(short: Workspace) -> None:
    """It listens on loopback only. Other users cannot read its folder and its token, and it leaves no files."""
    del short.environment["TMPDIR"]  # replaced below
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as temporary:
        short.environment["TMPDIR"] = temporary
        short.environment["RAY_AUTH_MODE"] = "token"
        driver = short.start("run", "short.yaml")
        wait_until(short.has_checkpoint, "a checkpoint")
        assert stat.S_IMODE(base(short).stat().st_mode) == 0o700
        assert {path.name[:2] for path in base(short).iterdir()} == {"d-", "lo"}
        pids = {pid for pid, _ in short.processes()}
        listening = sockets(pids)
        assert listening and all(address in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for address in listening)
        assert driver.wait(timeout=240) == 0, short.output
        assert [path.name for path in base(short).iterdir()] == ["lock"]
        assert not (short.folder / "home/.ray").exists()


def sockets(pids: set[int]) -> set[str]:
    """Return the addresses on which processes listen."""
    psutil = pytest.importorskip("psutil")
    addresses = set()
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("inet")
        except psutil.Error:
            continue
        addresses |= {connection.laddr.ip for connection in connections if connection.status == "LISTEN"}
    return addresses


def test_the_next_driver_deletes_the_folder_of_a_killed_one(short: Workspace) -> None:
    driver = short.start("run", "short.yaml")
    wait_until(short.has_checkpoint, "a checkpoint")
    driver.kill()
    driver.wait()
    (remaining_folder,) = base(short).glob("d-*")
    assert short.finish("resume", "short") == 0, short.output
    assert not remaining_folder.exists() and [path.name for path in base(short).iterdir()] == ["lock"]


def test_a_hangup_stops_the_driver_cleanly(short: Workspace) -> None:
    driver = short.start("run", "short.yaml")
    wait_until(short.has_checkpoint, "a checkpoint")
    driver.send_signal(signal.SIGHUP)
    assert driver.wait(timeout=60) == 128 + signal.SIGHUP
    assert last(short) == "stopped. Finished runs are kept. Continue: sparsweep resume short --storage runs"


@pytest.mark.parametrize("output", ["terminal", "pipe"])
def test_a_sweep_continues_without_the_reader_of_its_output(short: Workspace, output: str) -> None:
    """The reader is a terminal that closes under ``nohup``, or a pipe whose reader exits."""
    reading_end, writing = pty.openpty() if output == "terminal" else os.pipe()
    driver = subprocess.Popen(
        [*COMMAND, "run", "short.yaml"],
        cwd=short.folder,
        stdin=writing if output == "terminal" else None,
        stdout=writing,
        stderr=writing,
        env={**os.environ, "SPARSWEEP_TEST": short.mark, "RAY_AUTH_MODE": "disabled", **short.environment},
        preexec_fn=lambda: (os.setsid(), signal.signal(signal.SIGHUP, signal.SIG_IGN)),
    )
    os.close(writing)
    wait_until(short.has_checkpoint, "a checkpoint")
    os.close(reading_end)
    assert driver.wait(timeout=240) == 0
    assert len(short.store.finished()) == 4


WRONG = """
from sparsweep.trainables.runs import base
once = base.TrainingRun.train_epoch
def epoch(self):
    if self.spec.seed == 0:
        {what}
    once(self)
base.TrainingRun.train_epoch = epoch
"""


@pytest.mark.parametrize(
    ("what", "error"),
    [("None + 1", "TypeError"), ("import sys; sys.exit()", "CalledExit")],
)
def test_a_broken_method_is_not_retried_and_fail_fast_ends_the_sweep(short: Workspace, what: str, error: str) -> None:
    short.add_plugin("wrong", WRONG.format(what=what))
    assert short.finish("run", "short.yaml", "--plugin", "wrong", "--set", "resources.cpus=1") == 1, short.output
    assert len(short.store.finished()) == 3
    rows = tables.read_table(short.store.storage, "failures")[0].to_pylist()
    assert [(row["error"], row["attempt"]) for row in rows] == [(error, 1)]
    assert "Traceback" not in short.output

    short.storage = "others"
    arguments = ("run", "short.yaml", "--plugin", "wrong", "--fail-fast", "--set", "recipe.epochs=60")
    assert short.finish(*arguments) == 1, short.output
    assert not short.store.finished() and len(short.store.failures()) == 1
    assert read_live_lease("short", short.store) is None


SEAMS = [
    "sparsweep.tuner.execution.progress.ProgressCallback.on_trial_start",
    "sparsweep.tuner.execution.progress.ProgressCallback.on_step_end",
    "sparsweep.tuner.execution.search.GraphSearch.next_trial",
    "sparsweep.tuner.execution.queue.RunQueue.finish",
    "sparsweep.tuner.execution.driver.trial_resources",
    "sparsweep.tuner.execution.driver.fit",
    "sparsweep.tuner.state.driver_lease.Lease.report",
    "ray.init",
    "ray.shutdown",
    "ray.put",
]


@pytest.mark.parametrize("seam", SEAMS)
def test_an_error_in_a_running_driver_prints_one_line(short: Workspace, seam: str) -> None:
    module, _, name = seam.rpartition(".")
    short.add_plugin(
        "planted",
        "import os, pkgutil\n"
        "if 'default_worker' not in open('/proc/self/cmdline').read():\n"
        "    def planted(*arguments, **options):\n"
        "        raise RuntimeError('planted\\nin two lines')\n"
        f"    import sparsweep.tuner.execution.ray_environment as e; e.prepare('local')\n"
        f"    import sparsweep.tuner.execution.driver, sparsweep.tuner.execution.progress\n"
        f"    owner = pkgutil.resolve_name({module!r})\n"
        f"    assert hasattr(owner, {name!r})\n"
        f"    setattr(owner, {name!r}, planted)\n",
    )
    code = short.finish("run", "short.yaml", "--plugin", "planted", seconds=240)
    assert code == (0 if seam.endswith("finish") else 2), short.output  # Tune treats an error in finish as the trial's
    assert "Traceback" not in short.output and '  File "' not in short.output, short.output
    assert sum(line.startswith("sparsweep: ") for line in short.output.splitlines()) == (code == 2), short.output
    wait_until(lambda: not short.workers(), "the end of all trials")
