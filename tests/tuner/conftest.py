"""Fixtures: a small sweep, and a function that runs a sweep sequentially in this process, without Ray."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.planning.graph import build_graph, compute_state

SMALL = """
base:
  dataset: digits
  model: resnet8
  recipe: {preset: digits, epochs: 1}
  difficulty: {name: el2n, runs: 2, epoch: 1}
  data_ratio: [0.1, 0.2]
grids:
  - sparsifier: dense
  - {sparsifier: [lth, omp, omp_erk], sparsity: [0.5, 0.8]}
  - {sparsifier: snip, sparsity: 0.5}
"""


@pytest.fixture
def small() -> Sweep:
    return parse_sweep(SMALL, "small")


@dataclass(frozen=True)
class FinishedStorage:
    """A storage in which a sweep ran, and the ids of its trained runs in order."""

    folder: Path
    trained: tuple[str, ...]


@pytest.fixture(scope="session")
def finished_storages() -> dict[str, FinishedStorage]:
    """Storages of this session by the text of their sweep: many tests start from the same finished sweep."""
    return {}


@pytest.fixture
def run_here(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, finished_storages: dict[str, FinishedStorage]
) -> Callable[..., list[str]]:
    """Run the unfinished runs of a sweep in ``tmp_path``. Return the ids of the trained runs.

    In an empty storage a sweep trains once per session: later tests get a copy.
    """

    def inputs(spec: RunSpec) -> RunInputs:
        images = spec.dataset_spec.load()
        device = torch.device("cpu")
        return RunInputs(
            lambda: images, lambda trial: to_device_data(images, trial.model.channels, trial.model.min_size, device)
        )

    def run(sweep: Sweep, storage: Path = tmp_path) -> list[str]:
        if storage.exists() and any(storage.iterdir()):
            return train(sweep, storage)
        key = sweep.dump()
        if key not in finished_storages:
            folder = tmp_path_factory.mktemp("finished")
            finished_storages[key] = FinishedStorage(folder, tuple(train(sweep, folder)))
        shutil.copytree(finished_storages[key].folder, storage, dirs_exist_ok=True)
        return list(finished_storages[key].trained)

    def train(sweep: Sweep, storage: Path) -> list[str]:
        store = Store(str(storage))
        state = compute_state(build_graph(sweep.trials), store)
        queue = RunQueue(state.graph, state.ready)
        trained = []
        while (run_id := queue.next()) is not None:
            spec = state.graph.runs[run_id]
            assert open_run(spec, inputs(spec), store, sweep.name).run_for(float("inf")).is_finished
            trained.append(run_id)
            queue.finish(run_id)
        return trained

    return run


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process. Return its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    return run
