"""Trials that share a GPU: real ones, on a node that says it has one (a GPU of Ray is a number until it is used)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from sparsweep.trainables.data import data_root
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.trainable import SparseTrainable
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.execution import driver
from sparsweep.tuner.execution.progress import ProgressCallback
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.planning.graph import RunGraph, SweepState, build_graph, compute_state
from sparsweep.tuner.state import sweep_record

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, sparsifier: dense}
grids: [{seed: [0, 1, 2, 3, 4, 5]}]
resources: {cpus: 1, gpus: 0.25}
"""


@contextlib.contextmanager
def one_gpu_and_many_cpus(address: str, folder: Path) -> Iterator[None]:
    ray.init(address="local", num_cpus=8, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def test_four_trials_share_a_gpu_and_no_fifth_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = tmp_path / "met"
    met.mkdir()

    class Meeting(SparseTrainable):
        """Trains on the CPU, once three others are on the same GPU at the same time."""

        def setup(self, config: dict[str, Any], **settings: Any) -> None:
            assert settings["device"] == "cuda"
            super().setup(config, **settings | {"device": "cpu"})
            (met / str(os.getpid())).write_text(str(ray.get_gpu_ids()))
            end = time.monotonic() + 120
            while len(list(met.iterdir())) < 4 and time.monotonic() < end:
                time.sleep(0.1)

    monkeypatch.setattr(driver, "SparseTrainable", Meeting)
    monkeypatch.setattr(driver, "cluster", one_gpu_and_many_cpus)
    sweep, store = parse_sweep(SWEEP, "shares"), Store(str(tmp_path / "runs"))
    sweep_record.save_sweep(sweep, store)
    state = compute_state(build_graph(sweep.trials), store)
    images = {
        spec.dataset_spec.model_dump_json(): spec.dataset_spec.load(data_root(None)) for spec in sweep.trials.values()
    }
    with ProgressCallback(sweep.name, state, store) as watch:
        driver.execute(RunOptions(sweep, store), state, images, watch)
    assert store.finished() == set(sweep.trials)
    assert [worker.read_text() for worker in met.iterdir()] == ["[0]"] * 4  # four at a time, and the same four again


def auto(folder: Path) -> dict[str, float]:
    """What ``gpus: auto`` reserves where nothing is left to train, so that nothing has to be measured."""
    resources = parse_sweep(SWEEP, "shares", ["resources.gpus=auto"]).resources
    nothing = SweepState(RunGraph(), frozenset(), frozenset())
    return driver.trial_resources(resources, nothing, Store(str(folder / "runs")), lambda *said: None)


@pytest.mark.parametrize(("have", "gpus"), [({"CPU": 4.0}, {}), ({"CPU": 4.0, "GPU": 2.0}, {"gpu": 1.0})])
def test_auto_is_a_gpu_where_there_is_one(
    have: dict[str, float], gpus: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: have)
    assert auto(tmp_path) == {"cpu": 1.0} | gpus


def test_auto_does_not_guess_what_nodes_will_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"memory": 1e9})
    with pytest.raises(driver.SweepError, match=r"resources\.gpus: 'auto' needs a running node"):
        auto(tmp_path)
