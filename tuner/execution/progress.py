"""Monitoring of a running sweep: progress, ETA and failures on the terminal; log and heartbeat in the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ray.exceptions import RayTaskError
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.execution.eta import EtaEstimator
from sparsweep.tuner.execution.run_options import Echo
from sparsweep.tuner.execution.tune_adapter import DriverCallback, RunTrial
from sparsweep.tuner.planning.estimate import format_duration
from sparsweep.tuner.planning.graph import SweepState
from sparsweep.tuner.ray_errors import summarize
from sparsweep.tuner.state import sweep_record
from sparsweep.tuner.state.driver_lease import HEARTBEAT_SECONDS, Lease
from sparsweep.tuner.terminal import printable

log = logging.getLogger(__name__)

LINE_SECONDS = 15.0
"""Seconds between two progress lines if the output is not a terminal."""
HEARTBEAT_FIELDS = ("epoch", "epochs", "train_loss", "test_accuracy", "images_per_second")
"""Fields of a running trial in the heartbeat."""


class ProgressCallback(DriverCallback):
    """Tune callback that logs the events of a sweep.

    Args:
        name: Name of the sweep.
        state: Its state at the start.
        store: The storage.
        expected: Total number of runs of a search, None for grids.
        lease: The driver's lease, which carries the heartbeat.
        echo: What is printed beside failures.
    """

    def __init__(
        self,
        name: str,
        state: SweepState,
        store: Store,
        expected: int | None = None,
        lease: Lease | None = None,
        echo: Echo = "progress",
    ) -> None:
        self.lease, self.echo = lease, echo
        self.name, self.store, self.console = name, store, Console(stderr=True)
        self.graph, self.eta = state.graph, EtaEstimator()
        self.eta.add_runs(state.graph.runs[run] for run in state.ready)
        self.known = set(state.ready)  # planned runs and runs added since
        self.expected = expected or 0
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.running: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        self._last_errno: int | None = None
        self._last_beat = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=self.console
        )
        self._task = self._bar.add_task(name, total=1.0, text="starting Ray")
        self._live = Live(self._bar, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> ProgressCallback:
        if self.shows_bar:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.shows_bar:
            self._live.stop()
        self._write(lambda: sweep_record.write_log(self.name, self.store, self.lines))

    # Tune's events ---------------------------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        spec = self.graph.runs[trial.trial_id]
        if trial.trial_id not in self.known:
            self.known.add(trial.trial_id)
            self.eta.add_runs([spec])
        self.eta.start(trial.trial_id, spec, time.monotonic())
        self.running[trial.trial_id] = {"epoch": 0, "epochs": spec.num_epochs}
        self.log_line(f"started {self._label(trial)}")

    def on_trial_result(
        self, iteration: int, trials: list[RunTrial], trial: RunTrial, result: dict[str, Any], **info: Any
    ) -> None:
        fields = {name: result[name] for name in HEARTBEAT_FIELDS if result.get(name) is not None}
        self.running[trial.trial_id] = {**fields, "node": result.get("hostname", "")}
        self.eta.update(trial.trial_id, result["epoch"] / result["epochs"], time.monotonic())

    def on_trial_complete(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._end_attempt(trial)
        last = trial.last_result
        if last.get("epoch", 0) < last.get("epochs", 0):
            self.log_line(f"stopped early {self._label(trial)}")
        elif last.get("done"):
            self.done.add(trial.trial_id)
            self.log_line(f"finished {self._label(trial)}")

    def on_trial_recover(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._end_attempt(trial, counts=False)
        self.log_line(f"retrying {self._label(trial)}: {summarize(trial.error)}")

    def on_trial_error(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._end_attempt(trial)
        self.failed.add(trial.trial_id)
        error = trial.error
        if error is not None and not isinstance(error, RayTaskError):
            # The worker died or never started, so it did not write the failure itself.
            self.store.write_failure(trial.trial_id, self.name, error)
        self.log_line(f"FAILED {self._label(trial)}: {summarize(error)}", echo=True)

    def _end_attempt(self, trial: RunTrial, counts: bool = True) -> None:
        self.running.pop(trial.trial_id, None)
        self.eta.finish(trial.trial_id, time.monotonic(), counts)

    def on_step_end(self, iteration: int, trials: list[RunTrial], **info: Any) -> None:
        now = time.monotonic()
        total = self.eta.operations_total(self.num_unknown) or 1.0
        self._bar.update(self._task, total=total, completed=self.eta.operations_done(), text=self.summary())
        if now - self._last_beat >= HEARTBEAT_SECONDS:
            self._last_beat = now
            if self.lease is not None:
                self.lease.report(self.running, self.seconds_left())
            self._write(lambda: sweep_record.write_log(self.name, self.store, self.lines))
        if self.prints_lines and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.console.print(f"{self.name}: {self.summary()}", highlight=False, soft_wrap=True)

    def _write(self, write: Callable[[], None]) -> None:
        """Call ``write`` and only log its OSError. If the storage is full, the runs themselves fail."""
        try:
            write()
        except OSError as error:
            if error.errno is None or error.errno != self._last_errno:  # log a repeated error once
                log.warning("cannot write the log of %s: %s", self.name, error)
            self._last_errno = error.errno

    @property
    def shows_bar(self) -> bool:
        """Whether a live progress bar is shown on the terminal."""
        return self.console.is_terminal and self.echo != "quiet"

    @property
    def prints_lines(self) -> bool:
        """Whether the progress is printed as lines, because there is no terminal."""
        return not self.console.is_terminal and self.echo != "quiet"

    # Messages --------------------------------------------------------------------------------------------------------

    @property
    def num_unknown(self) -> int:
        """Number of runs that a search has not suggested yet."""
        return max(self.expected - len(self.known), 0)

    def summary(self) -> str:
        """Return the numbers of done, running and failed runs, and the ETA."""
        parts = [f"{len(self.done)}/{max(self.expected, len(self.known))} done", f"{len(self.running)} running"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"ETA {format_duration(left)}")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """Return the estimated seconds left, or None until a run is finished."""
        return self.eta.seconds_left(time.monotonic(), self.num_unknown) if self.done else None

    def log_line(self, text: str, echo: bool = False) -> None:
        """Append a line to the log. Print it if ``echo``, or if everything is printed."""
        self.lines.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}")
        if echo or self.echo == "verbose":
            self.console.print(f"{self.name}: {printable(text)}", highlight=False, markup=False, soft_wrap=True)

    def _label(self, trial: RunTrial) -> str:
        return f"{trial.trial_id} ({self.graph.runs[trial.trial_id]})"
