"""How many trials share a GPU: the decision from planted rates, and what happens when they do not fit."""

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
        ({1: 100, 2: 104}, 1),  # 4 % are not worth it
        ({1: 100, 2: 106, 3: 108}, 2),
        ({1: 100, 2: 190, 3: 250, 4: 251}, 3),
        ({1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 8: 8}, 8),
    ],
)
def test_the_climb_ends_where_it_gains_too_little(rates: dict[int, float], best: int) -> None:
    assert best_trials_per_gpu(rates.__getitem__) == (best, rates)  # and nothing is measured beyond


def test_the_climb_ends_where_memory_does() -> None:
    def rate(count: int) -> float:
        if count > 3:
            raise OutOfGpuMemory(f"{count} trials do not fit")
        return 100.0 * count

    assert best_trials_per_gpu(rate) == (3, {1: 100.0, 2: 200.0, 3: 300.0})


def test_one_trial_that_does_not_fit_is_not_hidden() -> None:
    def rate(count: int) -> float:
        raise OutOfGpuMemory(f"{count} trials do not fit")

    with pytest.raises(OutOfGpuMemory):
        best_trials_per_gpu(rate)


def test_shares_fill_a_card_and_no_more() -> None:
    for count in TRIALS_PER_GPU:
        fraction = gpu_fraction(count)
        assert count * fraction <= 1 and 1 // fraction == count
        assert fraction == round(fraction, 4)


def test_too_small_a_share_grows_rung_by_rung() -> None:
    fractions, fraction = [], larger_fraction(gpu_fraction(8))
    while fraction is not None:
        fractions.append(fraction)
        fraction = larger_fraction(fraction)
    assert fractions == [gpu_fraction(count) for count in (6, 4, 3, 2, 1)]
    assert larger_fraction(0.4) == 1.0  # two fit on a card: one is next
    assert larger_fraction(2.0) is None


def test_mps_is_detected_by_its_living_daemon(tmp_path: Path) -> None:
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert not is_mps_running(environment)
    pid = tmp_path / "nvidia-cuda-mps-control.pid"
    pid.write_text(f"{os.getpid()}\n")
    assert is_mps_running(environment)
    pid.write_text("4194305\n")  # above the largest process id that Linux gives
    assert not is_mps_running(environment)


def trial(run: str, error: Exception) -> Any:
    return SimpleNamespace(trial_id=run, error=error)


def test_no_more_trials_begin_once_one_found_no_memory(small: Sweep) -> None:
    graph = build_graph(small.trials)
    search = GraphSearch(RunQueue(graph, frozenset(graph.runs)))
    crowd = GpuOutOfMemoryMonitor(search)
    first, second, *_ = graph.runs
    crowd.on_trial_error(0, [], trial(first, ValueError("something else")))
    assert not search.draining and not crowd.runs
    crowd.on_trial_recover(0, [], trial(second, torch.OutOfMemoryError("CUDA out of memory")))
    assert search.draining and crowd.runs == {second}
    assert search.next_trial() is None and search.is_finished()


def test_what_remains_is_all_but_what_failed_and_waits_for_it(small: Sweep, tmp_path: Path) -> None:
    """A trial that found no memory has a row in ``failures`` too, but is run again."""
    store, graph = Store(str(tmp_path)), build_graph(small.trials)
    state = compute_state(graph, store)
    failed, crowded = (t.id for t in small.trials.values() if t.sparsifier.name == "dense")
    for run in (failed, crowded):
        store.write_failure(run, "small", torch.OutOfMemoryError("CUDA out of memory"))
    left = remaining_state(state, {failed}, store)
    waiting = {run for run, needs in graph.prerequisites.items() if failed in needs}
    assert left.ready == state.todo - waiting - {failed}
    assert crowded in left.ready
