"""What the ladder measures: rates, operations, memory, and whether a rung computes what it should."""

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
    """What ``work`` gave in at least ``seconds``, and the seconds it took until the device was done."""
    began, done = time.perf_counter(), 0
    if device.type != "cuda":
        while time.perf_counter() - began < seconds:
            done += next(work)
        return done, time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    while time.perf_counter() - began < seconds:
        done += next(work)
    last.record()
    torch.cuda.synchronize(device)
    return done, first.elapsed_time(last) / 1000


def rate(rung: Rung, seconds: float) -> float:
    """Images a second, after the rung's warm-up."""
    steps = rung.steps()
    for _ in range(rung.warm_up):
        next(steps)
    images, taken = elapsed(rung.problem.device, steps, seconds)
    return images / taken


def gemm_rate(device: torch.device, seconds: float) -> float:
    """Operations a second of a large matrix product: what the device can do."""
    size, dtype = GEMM[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def products() -> Iterator[int]:
        while True:
            torch.mm(left, right)
            yield 2 * size**3

    operations, taken = elapsed(device, products(), seconds)
    return operations / taken


class Dispatched(TorchDispatchMode):
    """Counts the operations that reach the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def launches(rung: Rung) -> int:
    """Kernels and graphs that the host starts in a step on a GPU; on a CPU, operations that PyTorch dispatches."""
    steps = rung.steps()
    for _ in range(rung.warm_up):
        next(steps)
    if rung.problem.device.type != "cuda":
        with Dispatched() as dispatched:
            next(steps)
        return dispatched.count
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        next(steps)
        torch.cuda.synchronize()
    return sum(event.count for event in profiled.key_averages() if event.key in LAUNCHES)


def peak_memory(rung: Rung) -> float | None:
    """Bytes that two steps take on a GPU beyond what is there before; None on a CPU, which does not tell."""
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
    """What a step of ``rung`` does; AssertionError if what it has trained so far is not sparse."""
    weights = dict(rung.model.named_parameters())
    for name, mask in rung.masks.items():
        assert not (weights[name].detach() * (1 - mask.to(weights[name].dtype))).any(), f"{name}: not zero where masked"
    sizes, kept = zip(*((mask.numel(), int(mask.sum())) for mask in rung.masks.values()), strict=True)
    assert sum(kept) == num_active(sum(sizes), rung.problem.sparsity), "the sparsity is not the one asked for"
    with torch.backends.cudnn.flags(allow_tf32=False):
        return rung.checked_step()


def masking_share(problem: Problem, rounds: int) -> tuple[list[float], float]:
    """The share of a dense step that masking and bookkeeping take, a number a round, and that step's median seconds.

    Each is timed by itself: the difference between a masked step and a dense one is smaller than the noise of either.
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
            done, seconds = elapsed(run.device, one, MASKING_SECONDS)
            times[name].append(seconds / done)
    return [extra / step for extra, step in zip(times["extra"], times["step"], strict=True)], median(times["step"])
