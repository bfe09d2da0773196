"""How many trials share a GPU: as many as make it faster, by processes that each have a fraction of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

TRIALS_PER_GPU = (1, 2, 3, 4, 6, 8)
"""Trials on one card that are tried, one after the other."""
MIN_GAIN = 0.05
"""A rung must be faster than the one before by this share, or the climb ends."""


class OutOfGpuMemory(Exception):
    """So many trials do not fit into the memory of a card."""


def best_trials_per_gpu(rate: Callable[[int], float]) -> tuple[int, dict[int, float]]:
    """The number of trials that a card should hold, and the rates measured on the way.

    ``rate``: images a second of so many trials together; NoRoom if they do not fit, which at one trial is the
    caller's to handle.
    """
    rates: dict[int, float] = {}
    best = TRIALS_PER_GPU[0]
    for count in TRIALS_PER_GPU:
        try:
            rates[count] = rate(count)
        except OutOfGpuMemory:
            if count == TRIALS_PER_GPU[0]:
                raise
            break
        if count > best and rates[count] < (1 + MIN_GAIN) * rates[best]:
            break
        best = count
    return best, rates


def gpu_fraction(count: int) -> float:
    """The fraction of a card for each of ``count`` trials, in the four decimals that Ray keeps, rounded down."""
    return math.floor(10_000 / count) / 10_000


def larger_fraction(fraction: float) -> float | None:
    """The share for a trial for which ``fraction`` of a card was too little; None if it had a whole one."""
    below = [count for count in TRIALS_PER_GPU if count < round(1 / fraction)]
    return gpu_fraction(below[-1]) if below else None


def is_mps_running(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether NVIDIA's multi-process service runs on this machine, so that processes use a card at the same time.

    Without it they take turns. Its daemon leaves its process id in its folder.
    """
    folder = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    try:
        pid = int((folder / "nvidia-cuda-mps-control.pid").read_text())
    except (OSError, ValueError):
        return False
    return Path(f"/proc/{pid}").exists()
