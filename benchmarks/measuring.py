"""Measurements of the ladder: rates, operations, memory, and the correctness of a rung's step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.rungs import LR, Change, Problem, Rung
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers.masks import num_active

GEMM = {"cuda": (8192, torch.bfloat16), "cpu": (1024, torch.float32)}
MASKING_SECONDS = 0.5
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")


def elapsed(device: torch.device, work: Iterator[int], seconds: float) -> tuple[int, float]:
    """Run ``work`` for at least ``seconds``.

    Args:
        device: Device that executes the work.
        work: Iterator that yields the amount of work done in each step.
        seconds: Minimum duration.

    Returns:
        The sum of the yielded amounts, and the seconds until the device finished.
    """
    start, amount = time.perf_counter(), 0
    if device.type != "cuda":
        while time.perf_counter() - start < seconds:
            amount += next(work)
        return amount, time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    while time.perf_counter() - start < seconds:
        amount += next(work)
    last.record()
    torch.cuda.synchronize(device)
    return amount, first.elapsed_time(last) / 1000


def rate(rung: Rung, seconds: float) -> float:
    """Return images per second, measured after the rung's warm-up."""
    steps = rung.steps()
    for _ in range(rung.warm_up):
        next(steps)
    images, seconds_taken = elapsed(rung.problem.device, steps, seconds)
    return images / seconds_taken


def gemm_rate(device: torch.device, seconds: float) -> float:
    """Return the operations per second of a large matrix product: the device's practical peak."""
    size, dtype = GEMM[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def products() -> Iterator[int]:
        while True:
            torch.mm(left, right)
            yield 2 * size**3

    operations, seconds_taken = elapsed(device, products(), seconds)
    return operations / seconds_taken


class DispatchCounter(TorchDispatchMode):
    """Counts the operations that PyTorch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def launches(rung: Rung) -> int:
    """Return the number of kernels and graphs that the host launches per step on a GPU.

    On a CPU, return the number of operations that PyTorch dispatches.
    """
    steps = rung.steps()
    for _ in range(rung.warm_up):
        next(steps)
    if rung.problem.device.type != "cuda":
        with DispatchCounter() as counter:
            next(steps)
        return counter.count
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        next(steps)
        torch.cuda.synchronize()
    return sum(event.count for event in profiled.key_averages() if event.key in LAUNCHES)


def peak_memory(rung: Rung) -> float | None:
    """Return the additional bytes of GPU memory that two steps allocate at their peak. Return None on a CPU."""
    device = rung.problem.device
    if device.type != "cuda":
        return None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    steps = rung.steps()
    next(steps), next(steps)
    torch.cuda.synchronize(device)
    return float(torch.cuda.max_memory_allocated(device) - before)


def checked(rung: Rung) -> Change:
    """Return the change of weights in one step of ``rung``.

    Raises:
        AssertionError: A masked weight is not 0, or the sparsity is wrong.
    """
    weights = dict(rung.model.named_parameters())
    for name, mask in rung.masks.items():
        assert not (weights[name].detach() * (1 - mask.to(weights[name].dtype))).any(), f"{name}: not zero where masked"
    sizes, kept = zip(*((mask.numel(), int(mask.sum())) for mask in rung.masks.values()), strict=True)
    assert sum(kept) == num_active(sum(sizes), rung.problem.sparsity), "wrong sparsity"
    with torch.backends.cudnn.flags(allow_tf32=False):
        return rung.checked_step()


def masking_share(problem: Problem, rounds: int) -> tuple[list[float], float]:
    """Measure the cost of masking and metrics relative to a dense step.

    Both are timed separately: the time difference between a masked and a dense step is smaller than their noise.

    Args:
        problem: Problem to train.
        rounds: Number of measurements.

    Returns:
        The relative cost in each round, and the median seconds of a dense step.
    """
    run = problem.training()
    images, labels = next(run.batches.iter_epoch(derive(0, "batches")))
    run.model.train()
    run.runner.lr.fill_(LR)
    noise = run.loss_fn.draw_noise(images, derive(0, "attack", device=run.device))
    logits = torch.randn(len(labels), problem.classes, device=run.device)
    totals = torch.zeros(2, device=run.device)

    def dense() -> Iterator[int]:
        while True:
            run.optimizer.zero_grad(set_to_none=True)
            run.loss_fn.loss(run.network, images, labels, noise)[0].backward()
            run.optimizer.step()
            yield 1

    def extra() -> Iterator[int]:
        while True:
            torch._foreach_mul_(run.masked_params.gradients(), run.masked_params.mask_floats)
            totals.add_(torch.stack([logits[0, 0] * len(labels), (logits.argmax(1) == labels).sum()]))
            yield 1

    work = {"step": dense(), "extra": extra()}
    for one in work.values():
        next(one)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            amount, seconds = elapsed(run.device, one, MASKING_SECONDS)
            times[name].append(seconds / amount)
    return [extra / step for extra, step in zip(times["extra"], times["step"], strict=True)], median(times["step"])
