"""Trials for which a share of a GPU had too little memory: the rest of the sweep is run with larger shares."""

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
    """Notices trials that found no memory on a GPU, and from the first on lets no more begin.

    ``runs``: the ids of those trials. That they failed is in ``failures``, but they are not given up for it.
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
    """Whether PyTorch found no memory. An error of its own cannot be here without it: other errors do not load it."""
    return "torch" in sys.modules and isinstance(error, torch.OutOfMemoryError)


def remaining_state(state: SweepState, failed: set[str], store: Store) -> SweepState:
    """What is left of ``state`` to be run again, without the runs that ``failed`` meanwhile and what waits for them."""
    now = compute_state(state.graph, store)
    given_up = frozenset((state.failed | failed) & now.todo)
    return SweepState(state.graph, now.todo, given_up, blocked_runs(state.graph, set(now.todo), set(given_up)))
