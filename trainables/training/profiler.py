"""Where the time of one epoch goes: the shares of its phases, and a trace of its first steps to look into.

``profiles/RUN/trace.json`` in the storage opens in Perfetto or chrome://tracing; ``summary.txt`` is one screen.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.storage.store import Store

T = TypeVar("T")

TRACED_STEPS = 20
"""The trace stops then: it holds every operation, and one of a whole epoch could not be opened."""
PHASES = {
    "data": "making batches: gathering, cropping, flipping",
    "forward": "the loss of a batch, attacks included",
    "backward": "its gradients",
    "mask": "masking them, and the optimiser's step",
    "step": "the rest of a training step; all of it where a CUDA graph replays it",
    "update": "the sparsifier choosing new masks",
    "evaluation": "accuracies on the test set",
    "storage": "checkpoint or results",
    "idle": "everything else",
}


class EpochProfiler:
    """The time spent in each phase while it is the one that :func:`phase` reports to.

    Time within a phase inside of another counts for the inner one. On a GPU each phase waits until the device is done,
    so that what was queued in it counts for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.steps = 0
        self._open = ["idle"]
        self._since = time.perf_counter()
        kinds = torch.profiler.ProfilerActivity
        activities = [kinds.CPU, *([kinds.CUDA] if device.type == "cuda" else [])]
        self.trace = torch.profiler.profile(activities=activities)
        self.tracing = False

    def start_trace(self) -> None:
        self.trace.start()
        self.tracing = True
        self._since = time.perf_counter()

    def stop_trace(self) -> None:
        if self.tracing:
            self.lap()
            self.trace.stop()
            self.tracing = False
            self._since = time.perf_counter()  # what the profiler needs to end is nobody's time

    def lap(self) -> None:
        """What has passed since the last mark was spent in the innermost phase that is open."""
        if self.device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.spent[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.lap()
        self._open.append(name)
        try:
            with torch.profiler.record_function(name):
                yield
        finally:
            self.lap()
            self._open.pop()

    def begin_step(self) -> None:
        """A batch has been made."""
        self.steps += 1
        if self.steps > TRACED_STEPS:
            self.stop_trace()

    def format(self) -> list[str]:
        """One screen."""
        whole = sum(self.spent.values())
        rows = [
            f"{name:<10} {100 * self.spent[name] / whole:5.1f} %  {self.spent[name]:8.3f} s  {what}"
            for name, what in PHASES.items()
        ]
        return [f"one epoch, {self.steps} steps, {whole:.3f} s", *rows]


_current: EpochProfiler | None = None


def phase(name: str) -> AbstractContextManager[None]:
    """Say that what follows is one of :data:`PHASES`. Costs nothing unless this process is being profiled."""
    return nullcontext() if _current is None else _current.phase(name)


def iterate_phase(name: str, items: Iterable[T]) -> Iterator[T]:
    """The batches ``items``, the making of each of which is the phase ``name``; with each a step begins."""
    rest = iter(items)
    while True:
        with phase(name):
            try:
                item = next(rest)
            except StopIteration:
                return
        if _current is not None:
            _current.begin_step()
        yield item


def profile_call(run: str, device: torch.device, store: Store, work: Callable[[], T]) -> T:
    """Do ``work``, and leave its profile in ``profiles/RUN/``."""
    global _current
    profile = _current = EpochProfiler(device)
    try:
        profile.start_trace()
        result = work()
        profile.lap()
    finally:
        _current = None
        profile.stop_trace()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profile.trace.export_chrome_trace(str(path))
        store.write(f"profiles/{run}/trace.json", path.read_bytes())
    store.write(f"profiles/{run}/summary.txt", "".join(f"{line}\n" for line in profile.format()).encode())
    return result
