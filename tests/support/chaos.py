"""Kill the driver and the trials of a sweep at random, complete it, and compare it with an undisturbed run.

``make chaos MINUTES=5 SWEEP=smoke``. The times and targets of the signals are drawn from a seed, which is printed. The
state of the sweep at each signal depends on the machine. Finished trials must stay unchanged, and at the end each table
must equal that of the undisturbed run, in all bits on a CPU. Then the exit code is 0.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.cli import assert_same_results
from support.fault_injection import Workspace

DRIVER = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RESUMES = 5
"""Maximum number of resumes after the last signal, because some trials may have failed."""


@dataclass
class Chaos:
    """Sends signals to ``sweep`` on ``workspace``, one every ``every`` seconds on average."""

    workspace: Workspace
    sweep: str
    every: float
    random: random.Random
    finished: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def go(self, minutes: float) -> None:
        """Send signals for ``minutes``, or until the sweep is finished. Then complete the sweep."""
        end = time.monotonic() + 60 * minutes
        driver = self.workspace.start("run", self.sweep)
        while time.monotonic() < end:
            pause = min(self.random.expovariate(1 / self.every), end - time.monotonic())
            try:
                driver.wait(timeout=max(0.0, pause))
            except subprocess.TimeoutExpired:
                self.hit(driver)
            if driver.poll() is not None:
                self.look()
                if driver.returncode == 0:
                    return
                driver = self.workspace.start("resume", self.sweep)
        for _ in range(RESUMES):
            if driver.wait() == 0:
                break
            driver = self.workspace.start("resume", self.sweep)
        self.look()

    def hit(self, driver: subprocess.Popen[bytes]) -> None:
        """Send a signal to the driver or to a process that trains."""
        workers = self.workspace.workers()
        if workers and self.random.random() < 0.5:
            victim, signum, who = self.random.choice(workers), signal.SIGKILL, "trial"
        else:
            victim, signum, who = driver.pid, self.random.choice(DRIVER), "driver"
        what = f"{signal.Signals(signum).name} to a {who}"
        self.counts[what] = self.counts.get(what, 0) + 1
        print(f"{time.strftime('%H:%M:%S')} {what} ({len(self.workspace.row_times())} trials finished)", flush=True)
        try:
            os.kill(victim, signum)
        except ProcessLookupError:  # the process has exited
            return
        if victim == driver.pid:
            driver.wait()

    def look(self) -> None:
        """Check that no finished trial is lost or written again."""
        now = self.workspace.row_times()
        assert self.finished.items() <= now.items(), f"lost or redone: {self.finished.items() - now.items()}"
        self.finished = now


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a sweep at random; compare it with an undisturbed run.")
    parser.add_argument("sweep", nargs="?", default="smoke", help="a built-in sweep, or the path of a file")
    parser.add_argument("--minutes", type=float, default=5, help="how long to disturb it")
    parser.add_argument("--every", type=float, default=20, help="seconds between two signals, on average")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--folder", type=Path, help="where to run, empty or new; else a temporary one")
    chosen = parser.parse_args()
    folder = (chosen.folder or Path(tempfile.mkdtemp(prefix="chaos-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sweep = str(Path(chosen.sweep).resolve()) if Path(chosen.sweep).is_file() else chosen.sweep
    print(f"{chosen.sweep} in {folder}, seed {chosen.seed}, a signal every {chosen.every:g} s", flush=True)

    disturbed = Chaos(Workspace(folder, "disturbed"), sweep, chosen.every, random.Random(chosen.seed))
    disturbed.go(chosen.minutes)
    quiet = Workspace(folder, "undisturbed")
    if quiet.finish("run", sweep, seconds=24 * 3600) != 0:
        sys.exit(f"the undisturbed run failed: {folder}/output.txt")
    assert_same_results(folder / "disturbed", folder / "undisturbed")
    print(f"{len(disturbed.finished)} trials equal those of the undisturbed run, bit for bit, after {disturbed.counts}")


if __name__ == "__main__":
    main()
