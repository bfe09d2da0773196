"""Handling of GPU out-of-memory errors: the missing trials run again with a larger GPU fraction."""

from __future__ import annotations

import sys
from typing import Any

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.execution.search import GraphSearch
from sparsweep.tuner.execution.tune_adapter import DriverCallback, RunTrial
from sparsweep.tuner.planning.graph import SweepState, blocked_runs, compute_state
from sparsweep.tuner.ray_errors import unwrap


class GpuOutOfMemoryMonitor(DriverCallback):
    """Callback that detects GPU out-of-memory errors and then starts no more runs.

    Attributes:
        runs: Ids of runs that ran out of memory. Their errors are in ``failures``, but they run again.
    """

    def __init__(self, algorithm: GraphSearch) -> None:
        self.search = algorithm
        self.runs: set[str] = set()

    def on_trial_recover(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._check_error(trial)

    def on_trial_error(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self._check_error(trial)

    def _check_error(self, trial: RunTrial) -> None:
        if trial.error is not None and is_out_of_memory(unwrap(trial.error)):
            self.runs.add(trial.trial_id)
            self.search.draining = True


def is_out_of_memory(error: Exception) -> bool:
    """Return whether ``error`` is a CUDA out-of-memory error. If torch is not imported, it cannot be."""
    return "torch" in sys.modules and isinstance(error, torch.OutOfMemoryError)


def remaining_state(state: SweepState, failed: set[str], store: Store) -> SweepState:
    """Return the state of the missing runs for another attempt.

    Args:
        state: State before the attempt.
        failed: Ids of runs that failed for other reasons than memory. They and their dependents are not retried.
        store: The storage.
    """
    now = compute_state(state.graph, store)
    given_up = frozenset((state.failed | failed) & now.todo)
    return SweepState(state.graph, now.todo, given_up, blocked_runs(state.graph, set(now.todo), set(given_up)))
