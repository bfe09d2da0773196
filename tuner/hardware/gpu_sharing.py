"""Number of trials that share a GPU, each in its own process: increased while the total throughput increases."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

TRIALS_PER_GPU = (1, 2, 3, 4, 6, 8)
"""Numbers of trials per GPU that are measured, in order."""
MIN_GAIN = 0.05
"""Minimum relative gain in throughput; a smaller gain ends the measurement."""


class OutOfGpuMemory(Exception):
    """Raised when the trials do not fit into the memory of a GPU."""


def best_trials_per_gpu(rate: Callable[[int], float]) -> tuple[int, dict[int, float]]:
    """Measure increasing numbers of trials per GPU until the gain is below :data:`MIN_GAIN`.

    Args:
        rate: Returns the total images per second for a number of trials. Raises OutOfGpuMemory if they do not fit.

    Returns:
        The best number of trials per GPU, and all measured rates.

    Raises:
        OutOfGpuMemory: Even one trial does not fit.
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
    """Return the GPU fraction of each of ``count`` trials, rounded down to Ray's precision of 4 decimals."""
    return math.floor(10_000 / count) / 10_000


def larger_fraction(fraction: float) -> float | None:
    """Return the next larger GPU fraction after an out-of-memory error, or None for a full GPU."""
    smaller_counts = [count for count in TRIALS_PER_GPU if count < round(1 / fraction)]
    return gpu_fraction(smaller_counts[-1]) if smaller_counts else None


def is_mps_running(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether NVIDIA's Multi-Process Service (MPS) runs on this node.

    With MPS, processes use a GPU at the same time; without it they take turns. The daemon's PID file shows its state.

    Args:
        environment: Environment variables. ``CUDA_MPS_PIPE_DIRECTORY`` sets the folder of the PID file.
    """
    folder = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    try:
        pid = int((folder / "nvidia-cuda-mps-control.pid").read_text())
    except (OSError, ValueError):
        return False
    return Path(f"/proc/{pid}").exists()
