"""What the fault tests share: a sweep, drivers as processes of their own, and ways to find and hurt what they start."""

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
"""For so long some of Ray's agents outlive a driver or a head that was killed; they end by themselves."""


def wait_until(holds: Callable[[], object], what: str, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


@dataclass
class Ground:
    """A folder in which a sweep is run and hurt. Everything that is started here can be found by a mark it inherits."""

    folder: Path
    storage: str = "runs"
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.storage if "://" in self.storage else str(self.folder / self.storage))

    @property
    def said(self) -> str:
        """What all drivers have said here so far."""
        return (self.folder / "said.txt").read_text()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A driver: the command with ``arguments``, on this ground's storage."""
        environment = {**os.environ, "SPARSWEEP_TEST": self.mark, "RAY_AUTH_MODE": "disabled", **self.environment}
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [*COMMAND, *arguments, "--storage", self.storage],
                cwd=self.folder,
                stdout=said,
                stderr=said,
                env=environment,
            )

    def finish(self, *arguments: str, seconds: float = 480) -> int:
        """The exit code of such a driver."""
        return self.start(*arguments).wait(timeout=seconds)

    def processes(self) -> Iterator[tuple[int, str]]:
        """Number and command line of everything that was started here and lives."""
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"SPARSWEEP_TEST={self.mark}".encode() in (entry / "environ").read_bytes():
                    yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue

    def workers(self) -> list[int]:
        """Processes that are training now."""
        return [pid for pid, command in self.processes() if "Trainable.train" in command]

    def kill_workers(self, signum: signal.Signals = signal.SIGKILL, count: int | None = None) -> list[int]:
        """Send ``signum`` to the processes that are training; those that were hit."""
        wait_until(self.workers, "a trial")
        hit = self.workers()[:count]
        for pid in hit:
            os.kill(pid, signum)
        return hit

    def begun(self) -> bool:
        """Whether some run has left a checkpoint."""
        return bool(self.store.checkpoints())

    def halfway(self) -> bool:
        """Whether some trial is finished and another one begun."""
        return bool(self.store.finished()) and self.begun()

    def written(self) -> dict[str, int]:
        """When each finished trial wrote its row."""
        store = self.store
        folder = fs.FileSelector(f"{store.root}/results/trials", allow_not_found=True)
        infos = store.filesystem.get_file_info(folder)
        return {info.base_name: info.mtime_ns for info in infos if not info.base_name.startswith("_")}

    def local(self) -> Path:
        """The storage as a folder: itself, or a copy of a bucket."""
        if "://" not in self.storage:
            return self.folder / self.storage
        copy = Path(tempfile.mkdtemp(dir=self.folder))
        fs.copy_files(self.store.root, str(copy), source_filesystem=self.store.filesystem)
        return copy


def with_sweep(folder: Path) -> Ground:
    """A ground with the small sweep of these tests, ``hurt.yaml``."""
    (folder / "hurt.yaml").write_text(SWEEP)
    return Ground(folder)


def kill(driver: subprocess.Popen[bytes]) -> None:
    driver.kill()
    driver.wait()
