"""Profile of one epoch: the time of its phases, and a trace of its first steps.

``profiles/RUN/trace.json`` in the storage opens in Perfetto or chrome://tracing. ``summary.txt`` fits on one screen.
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
"""Steps in the trace. It records every operation, and viewers cannot open the trace of a full epoch."""
PHASES = {
    "data": "batches: gather, crop, flip",
    "forward": "loss of a batch, attacks included",
    "backward": "gradients of the loss",
    "mask": "masking of the gradients, and the optimizer step",
    "step": "rest of a training step; the full step if a CUDA graph replays it",
    "update": "mask updates of the sparsifier",
    "evaluation": "accuracies on the test set",
    "storage": "checkpoints and results",
    "idle": "everything else",
}


class EpochProfiler:
    """Time spent in each phase while :func:`phase` reports to this profiler.

    Time in a nested phase counts for the inner phase only. On a GPU each phase synchronizes the device at its ends. A
    phase therefore includes the device time of its operations.

    Attributes:
        spent: Seconds by phase.
        steps: Training steps so far.
        trace: Profiler of PyTorch.
        tracing: Whether the trace records.
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
        """Start the trace."""
        self.trace.start()
        self.tracing = True
        self._since = time.perf_counter()

    def stop_trace(self) -> None:
        """Stop the trace if it records."""
        if self.tracing:
            self.lap()
            self.trace.stop()
            self.tracing = False
            self._since = time.perf_counter()  # exclude the time that the trace needs to stop

    def lap(self) -> None:
        """Add the time since the last mark to the innermost open phase."""
        if self.device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.spent[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the enclosed code as phase ``name``."""
        self.lap()
        self._open.append(name)
        try:
            with torch.profiler.record_function(name):
                yield
        finally:
            self.lap()
            self._open.pop()

    def begin_step(self) -> None:
        """Count a training step, after its batch is ready."""
        self.steps += 1
        if self.steps > TRACED_STEPS:
            self.stop_trace()

    def format(self) -> list[str]:
        """Return the summary as lines."""
        total = sum(self.spent.values())
        rows = [
            f"{name:<10} {100 * self.spent[name] / total:5.1f} %  {self.spent[name]:8.3f} s  {text}"
            for name, text in PHASES.items()
        ]
        return [f"one epoch, {self.steps} steps, {total:.3f} s", *rows]


_current: EpochProfiler | None = None


def phase(name: str) -> AbstractContextManager[None]:
    """Time the enclosed code as one of :data:`PHASES`. Without a profile the cost is negligible."""
    return nullcontext() if _current is None else _current.phase(name)


def iterate_phase(name: str, items: Iterable[T]) -> Iterator[T]:
    """Yield ``items`` and time the creation of each item as phase ``name``. Each item starts a step.

    Args:
        name: One of :data:`PHASES`.
        items: Batches of an epoch.
    """
    iterator = iter(items)
    while True:
        with phase(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        if _current is not None:
            _current.begin_step()
        yield item


def profile_call(run: str, device: torch.device, store: Store, work: Callable[[], T]) -> T:
    """Call ``work`` and write its profile to ``profiles/RUN/``.

    Args:
        run: Id of the run.
        device: Device of the training.
        store: Storage of the profile.
        work: Function to profile.

    Returns:
        Result of ``work``.
    """
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
