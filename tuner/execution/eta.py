"""How fast runs go, measured shape by shape, and how long the rest will take.

A run of one shape (see ``order``) says little of another's: each has a rate of its own, in seconds of a
slot for an operation. What has not been measured yet is taken for as fast as everything so far.
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
    """A run under way: its ``share`` of the work done, and the ``time`` and ``share`` since when it is measured."""

    spec: RunSpec
    since: float
    since_progress: float = 0.0
    progress: float = 0.0


class EtaEstimator:
    """Follows the runs of a sweep: :meth:`add_runs`, then for each :meth:`begin`, :meth:`follow`, :meth:`finish`.

    Measured from the first sign of training on: before that Ray starts. O(1) an event.
    """

    def __init__(self) -> None:
        self.first_update: float | None = None
        self.running: dict[str, RunProgress] = {}
        self.planned = 0
        self.total: defaultdict[str, float] = defaultdict(float)  # operations known of
        self.done: defaultdict[str, float] = defaultdict(float)  # by runs that are not running any more
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of slots, that were measured
        self.operations: defaultdict[str, float] = defaultdict(float)  # done in them

    def add_runs(self, specs: Iterable[RunSpec]) -> None:
        """Runs that are to be made."""
        for spec in specs:
            self.planned += 1
            self.total[step_signature(spec)] += training_flops(spec)

    def start(self, run: str, spec: RunSpec, now: float) -> None:
        self.running[run] = RunProgress(spec, now)

    def update(self, run: str, share: float, now: float) -> None:
        """``run`` has done ``share`` of its work."""
        if run in self.running:
            self.running[run].progress = share
        if self.first_update is None:
            self.first_update = now
            for course in self.running.values():
                course.since, course.since_progress = now, course.progress

    def finish(self, run: str, now: float, final: bool) -> None:
        """``run`` is over; ``counts``: finished or failed for good, not to be tried again."""
        course = self.running.pop(run, None)
        if course is None:
            return
        self._measure(course, now)
        if final:
            self.done[step_signature(course.spec)] += training_flops(course.spec)

    def _measure(self, course: RunProgress, now: float) -> None:
        if self.first_update is not None:
            kind = step_signature(course.spec)
            self.seconds[kind] += now - course.since
            self.operations[kind] += (course.progress - course.since_progress) * training_flops(course.spec)

    def operations_done(self) -> float:
        """By all runs so far."""
        return sum(self.done.values()) + sum(self._operations_running().values())

    def operations_total(self, unknown: int = 0) -> float:
        """Of all runs, ``unknown`` ones that a search has yet to suggest included, which count as those before."""
        known = sum(self.total.values())
        return known * (1 + unknown / self.planned) if self.planned else 0.0

    def seconds_left(self, now: float, unknown: int = 0) -> float | None:
        """Until everything is done, with as many runs at a time as so far; None where nothing was measured yet."""
        seconds, operations = self._measured(now)
        slots, work = sum(seconds.values()), sum(operations.values())
        if self.first_update is None or now <= self.first_update or work <= 0 or slots <= 0:
            return None
        rates = {kind: seconds[kind] / operations[kind] if operations[kind] else slots / work for kind in self.total}
        under_way = self._operations_running()
        left = sum((self.total[kind] - self.done[kind] - under_way[kind]) * rates[kind] for kind in rates)
        left += unknown * sum(self.total[kind] * rates[kind] for kind in rates) / self.planned
        return left * (now - self.first_update) / slots

    def _operations_running(self) -> defaultdict[str, float]:
        """Operations that running runs have done."""
        found: defaultdict[str, float] = defaultdict(float)
        for course in self.running.values():
            found[step_signature(course.spec)] += course.progress * training_flops(course.spec)
        return found

    def _measured(self, now: float) -> tuple[defaultdict[str, float], defaultdict[str, float]]:
        """Slot seconds and the operations done in them, of runs that ended and of those that run."""
        seconds, operations = self.seconds.copy(), self.operations.copy()
        for course in self.running.values():
            seconds[step_signature(course.spec)] += now - course.since
            operations[step_signature(course.spec)] += (course.progress - course.since_progress) * training_flops(
                course.spec
            )
        return seconds, operations
