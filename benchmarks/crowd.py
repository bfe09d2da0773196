"""Several processes that train concurrently on one device, as the trials of a sweep do."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from torch import multiprocessing

from benchmarks.measuring import rate
from benchmarks.rungs import Rung

START_SECONDS = 600


class Crowd:
    """Processes that train concurrently.

    Args:
        make: Picklable function that builds the rung of one process.
        size: Number of processes.
        threads: Number of threads per process.
    """

    def __init__(self, make: Callable[[], Rung], size: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.ends: list[Connection] = []
        self.processes = []
        for _ in range(size):
            own_end, other_end = context.Pipe()
            process = context.Process(target=member, args=(make, other_end, threads), daemon=True)
            process.start()
            self.ends.append(own_end)
            self.processes.append(process)
        for end in self.ends:
            if not end.poll(START_SECONDS):
                raise TimeoutError("a process of the benchmark did not start")
            end.recv()

    def rate(self, seconds: float) -> float:
        """Return the images per second of all processes together."""
        for end in self.ends:
            end.send(seconds)
        return sum(end.recv() for end in self.ends)

    def close(self) -> None:
        for end in self.ends:
            end.send(None)
        for process in self.processes:
            process.join()


def member(make: Callable[[], Rung], end: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    rung = make()
    rate(rung, 0.0)  # warm-up: compilation and capture are not timed
    end.send(None)
    while (seconds := end.recv()) is not None:
        end.send(rate(rung, seconds))
