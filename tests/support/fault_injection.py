"""Helpers of the fault tests: a small sweep, drivers as processes, and functions that find and kill processes."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyarrow import fs

from sparsweep.trainables.storage.store import Store
from support.cli import COMMAND

SWEEP = """
name: hurt
base:
  dataset: digits
  model: resnet8
  recipe: {preset: digits, epochs: 20}
  evaluation: {every: 2}
  difficulty: {name: el2n, runs: 1, epoch: 1}
  data_ratio: 0.5
grids:
  - {sparsifier: dense, seed: [0, 1]}
  - {sparsifier: [{name: set, update_every: 1}, lth], sparsity: 0.8}
"""
TRIALS = 4
LINGER_SECONDS = 200
"""Maximum time that Ray's agents run after their driver or head was killed."""


def wait_until(holds: Callable[[], object], what: str, seconds: float = 240) -> None:
    """Call ``holds`` until it returns a true value. Fail after ``seconds``; ``what`` names the event in the message."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


@dataclass
class Workspace:
    """A folder in which a sweep runs under faults.

    Attributes:
        folder: The folder.
        storage: Storage of the sweep: a folder inside ``folder``, or an address.
        mark: Value of an environment variable that all processes of this workspace inherit.
        environment: Further environment variables of the drivers.
    """

    folder: Path
    storage: str = "runs"
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.storage if "://" in self.storage else str(self.folder / self.storage))

    def add_plugin(self, name: str, source: str) -> None:
        """Write a plug-in module that later commands can import."""
        (self.folder / f"{name}.py").write_text(source)
        self.environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", os.getcwd())])

    @property
    def output(self) -> str:
        """Output of all drivers so far."""
        return (self.folder / "output.txt").read_text()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a driver: the command with ``arguments`` on this workspace's storage."""
        environment = {**os.environ, "SPARSWEEP_TEST": self.mark, "RAY_AUTH_MODE": "disabled", **self.environment}
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [*COMMAND, *arguments, "--storage", self.storage],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env=environment,
            )

    def finish(self, *arguments: str, seconds: float = 480) -> int:
        """Run a driver to its end and return its exit code."""
        return self.start(*arguments).wait(timeout=seconds)

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yield id and command line of each running process of this workspace."""
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"SPARSWEEP_TEST={self.mark}".encode() in (entry / "environ").read_bytes():
                    yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue

    def workers(self) -> list[int]:
        """Return the ids of the processes that are training."""
        return [pid for pid, command in self.processes() if "Trainable.train" in command]

    def kill_workers(self, signum: signal.Signals = signal.SIGKILL, count: int | None = None) -> list[int]:
        """Send ``signum`` to the first ``count`` training processes (default: all) and return their ids."""
        wait_until(self.workers, "a trial")
        hit = self.workers()[:count]
        for pid in hit:
            os.kill(pid, signum)
        return hit

    def has_checkpoint(self) -> bool:
        """Return whether a run has a checkpoint."""
        return bool(self.store.checkpoints())

    def halfway(self) -> bool:
        """Return whether a trial is finished and another one has a checkpoint."""
        return bool(self.store.finished()) and self.has_checkpoint()

    def row_times(self) -> dict[str, int]:
        """Return the time in ns at which each finished trial wrote its row."""
        store = self.store
        folder = fs.FileSelector(f"{store.root}/results/trials", allow_not_found=True)
        infos = store.filesystem.get_file_info(folder)
        return {info.base_name: info.mtime_ns for info in infos if not info.base_name.startswith("_")}

    def local_copy(self) -> Path:
        """Return the storage as a folder, or a copy if it is a bucket."""
        if "://" not in self.storage:
            return self.folder / self.storage
        copy = Path(tempfile.mkdtemp(dir=self.folder))
        fs.copy_files(self.store.root, str(copy), source_filesystem=self.store.filesystem)
        return copy


def create_workspace(folder: Path) -> Workspace:
    """Create a workspace with the small sweep ``hurt.yaml``."""
    (folder / "hurt.yaml").write_text(SWEEP)
    return Workspace(folder)


def kill(driver: subprocess.Popen[bytes]) -> None:
    """Kill a driver and wait for its end."""
    driver.kill()
    driver.wait()
