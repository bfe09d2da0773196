"""Number of trials per GPU: the choice from given rates, and the reaction to out-of-memory errors."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.execution.oom import GpuOutOfMemoryMonitor, remaining_state
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.search import GraphSearch
from sparsweep.tuner.hardware.gpu_sharing import (
    TRIALS_PER_GPU,
    OutOfGpuMemory,
    best_trials_per_gpu,
    gpu_fraction,
    is_mps_running,
    larger_fraction,
)
from sparsweep.tuner.planning.graph import build_graph, compute_state


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 100, 2: 90}, 1),
        ({1: 100, 2: 104}, 1),  # a gain of 4 % is too small
        ({1: 100, 2: 106, 3: 108}, 2),
        ({1: 100, 2: 190, 3: 250, 4: 251}, 3),
        ({1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 8: 8}, 8),
    ],
)
def test_search_for_trials_per_gpu_stops_when_the_gain_is_small(rates: dict[int, float], best: int) -> None:
    assert best_trials_per_gpu(rates.__getitem__) == (best, rates)  # further counts are not measured


def test_search_for_trials_per_gpu_stops_when_memory_is_full() -> None:
    def rate(count: int) -> float:
        if count > 3:
            raise OutOfGpuMemory(f"{count} trials do not fit")
        return 100.0 * count

    assert best_trials_per_gpu(rate) == (3, {1: 100.0, 2: 200.0, 3: 300.0})


def test_single_trial_that_does_not_fit_raises() -> None:
    def rate(count: int) -> float:
        raise OutOfGpuMemory(f"{count} trials do not fit")

    with pytest.raises(OutOfGpuMemory):
        best_trials_per_gpu(rate)


def test_gpu_fractions_sum_to_at_most_one() -> None:
    for count in TRIALS_PER_GPU:
        fraction = gpu_fraction(count)
        assert count * fraction <= 1 and 1 // fraction == count
        assert fraction == round(fraction, 4)


def test_gpu_fraction_grows_step_by_step() -> None:
    fractions, fraction = [], larger_fraction(gpu_fraction(8))
    while fraction is not None:
        fractions.append(fraction)
        fraction = larger_fraction(fraction)
    assert fractions == [gpu_fraction(count) for count in (6, 4, 3, 2, 1)]
    assert larger_fraction(0.4) == 1.0  # two trials fit per GPU; the next step is one
    assert larger_fraction(2.0) is None


def test_mps_is_detected_by_its_running_daemon(tmp_path: Path) -> None:
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert not is_mps_running(environment)
    pid = tmp_path / "nvidia-cuda-mps-control.pid"
    pid.write_text(f"{os.getpid()}\n")
    assert is_mps_running(environment)
    pid.write_text("4194305\n")  # above the largest process id of Linux
    assert not is_mps_running(environment)


def trial(run: str, error: Exception) -> Any:
    return SimpleNamespace(trial_id=run, error=error)


def test_no_trial_starts_after_a_gpu_out_of_memory_error(small: Sweep) -> None:
    graph = build_graph(small.trials)
    search = GraphSearch(RunQueue(graph, frozenset(graph.runs)))
    monitor = GpuOutOfMemoryMonitor(search)
    first, second, *_ = graph.runs
    monitor.on_trial_error(0, [], trial(first, ValueError("something else")))
    assert not search.draining and not monitor.runs
    monitor.on_trial_recover(0, [], trial(second, torch.OutOfMemoryError("CUDA out of memory")))
    assert search.draining and monitor.runs == {second}
    assert search.next_trial() is None and search.is_finished()


def test_remaining_runs_exclude_failed_runs_and_their_dependents(small: Sweep, tmp_path: Path) -> None:
    """A trial that ran out of GPU memory also has a row in ``failures``, but runs again."""
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    state = compute_state(graph, store)
    failed, out_of_memory = (t.id for t in small.trials.values() if t.sparsifier.name == "dense")
    for run in (failed, out_of_memory):
        store.write_failure(run, "small", torch.OutOfMemoryError("CUDA out of memory"))
    remaining = remaining_state(state, {failed}, store)
    dependents = {run for run, needs in graph.prerequisites.items() if failed in needs}
    assert remaining.ready == state.todo - dependents - {failed}
    assert out_of_memory in remaining.ready
