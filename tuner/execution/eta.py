"""Estimate of the remaining time (ETA) of a sweep, from measured rates.

Rates are measured per step signature (see ``schedule``), in slot seconds per FLOP. Signatures without a measurement
use the mean rate of all runs so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.tuner.planning.estimate import training_flops
from sparsweep.tuner.planning.schedule import step_signature


@dataclass
class RunProgress:
    """Progress of one running run.

    Attributes:
        spec: The run.
        since: Time of the first measurement, in seconds.
        since_progress: Progress at that time, in [0, 1].
        progress: Current progress, in [0, 1].
    """

    spec: RunSpec
    since: float
    since_progress: float = 0.0
    progress: float = 0.0


class EtaEstimator:
    """ETA of a sweep: call :meth:`add_runs`, then :meth:`start`, :meth:`update` and :meth:`finish` for each run.

    The measurement starts with the first update, because Ray starts before it. Each call costs O(1).

    Attributes:
        first_update: Time of the first update in seconds, None before it.
        running: Running runs by id.
        planned: Number of known runs.
        total: FLOPs of all known runs, by step signature.
        done: FLOPs of all ended runs, by step signature.
        seconds: Measured slot seconds of all ended attempts, by step signature.
        operations: FLOPs in these seconds, by step signature.
    """

    def __init__(self) -> None:
        self.first_update: float | None = None
        self.running: dict[str, RunProgress] = {}
        self.planned = 0
        self.total: defaultdict[str, float] = defaultdict(float)
        self.done: defaultdict[str, float] = defaultdict(float)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.operations: defaultdict[str, float] = defaultdict(float)

    def add_runs(self, specs: Iterable[RunSpec]) -> None:
        """Add planned runs."""
        for spec in specs:
            self.planned += 1
            self.total[step_signature(spec)] += training_flops(spec)

    def start(self, run: str, spec: RunSpec, now: float) -> None:
        """Record the start of a run at time ``now``."""
        self.running[run] = RunProgress(spec, now)

    def update(self, run: str, share: float, now: float) -> None:
        """Record that ``run`` has finished the fraction ``share`` of its work at time ``now``."""
        if run in self.running:
            self.running[run].progress = share
        if self.first_update is None:
            self.first_update = now
            for progress in self.running.values():
                progress.since, progress.since_progress = now, progress.progress

    def finish(self, run: str, now: float, final: bool) -> None:
        """Record the end of an attempt. ``final``: the run is finished or failed and will not be retried."""
        progress = self.running.pop(run, None)
        if progress is None:
            return
        self._measure(progress, now)
        if final:
            self.done[step_signature(progress.spec)] += training_flops(progress.spec)

    def _measure(self, progress: RunProgress, now: float) -> None:
        if self.first_update is not None:
            kind = step_signature(progress.spec)
            self.seconds[kind] += now - progress.since
            self.operations[kind] += (progress.progress - progress.since_progress) * training_flops(progress.spec)

    def operations_done(self) -> float:
        """Return the FLOPs of all runs so far."""
        return sum(self.done.values()) + sum(self._operations_running().values())

    def operations_total(self, unknown: int = 0) -> float:
        """Return the FLOPs of all planned runs plus ``unknown`` later suggestions of mean cost."""
        known = sum(self.total.values())
        return known * (1 + unknown / self.planned) if self.planned else 0.0

    def seconds_left(self, now: float, unknown: int = 0) -> float | None:
        """Return the seconds until the end of the sweep, or None without measurements.

        Assumes the mean number of parallel runs so far.

        Args:
            now: Current time in seconds.
            unknown: Number of runs that a search has not suggested yet.
        """
        seconds, operations = self._measured(now)
        slots, work = sum(seconds.values()), sum(operations.values())
        if self.first_update is None or now <= self.first_update or work <= 0 or slots <= 0:
            return None
        rates = {kind: seconds[kind] / operations[kind] if operations[kind] else slots / work for kind in self.total}
        running = self._operations_running()
        left = sum((self.total[kind] - self.done[kind] - running[kind]) * rates[kind] for kind in rates)
        left += unknown * sum(self.total[kind] * rates[kind] for kind in rates) / self.planned
        return left * (now - self.first_update) / slots

    def _operations_running(self) -> defaultdict[str, float]:
        """Return the FLOPs that running runs have finished, by step signature."""
        operations: defaultdict[str, float] = defaultdict(float)
        for progress in self.running.values():
            operations[step_signature(progress.spec)] += progress.progress * training_flops(progress.spec)
        return operations

    def _measured(self, now: float) -> tuple[defaultdict[str, float], defaultdict[str, float]]:
        """Return the measured slot seconds and FLOPs of ended and running runs, by step signature."""
        seconds, operations = self.seconds.copy(), self.operations.copy()
        for progress in self.running.values():
            seconds[step_signature(progress.spec)] += now - progress.since
            operations[step_signature(progress.spec)] += (progress.progress - progress.since_progress) * training_flops(
                progress.spec
            )
        return seconds, operations
