"""Real trials that share a GPU, on a node that declares one. Ray counts GPUs without a device check."""

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


def test_exactly_four_trials_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = tmp_path / "met"
    workers.mkdir()

    class MeetingTrainable(SparseTrainable):
        """Trains on the CPU after four trials have met on the same GPU."""

        def setup(self, config: dict[str, Any], **settings: Any) -> None:
            assert settings["device"] == "cuda"
            super().setup(config, **settings | {"device": "cpu"})
            (workers / str(os.getpid())).write_text(str(ray.get_gpu_ids()))
            end = time.monotonic() + 120
            while len(list(workers.iterdir())) < 4 and time.monotonic() < end:
                time.sleep(0.1)

    monkeypatch.setattr(driver, "SparseTrainable", MeetingTrainable)
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
    # Six trials ran in four worker processes, which are reused.
    assert [worker.read_text() for worker in workers.iterdir()] == ["[0]"] * 4


def auto_resources(folder: Path) -> dict[str, float]:
    """Return the resources of ``gpus: auto`` for a finished sweep, for which no measurement is needed."""
    resources = parse_sweep(SWEEP, "shares", ["resources.gpus=auto"]).resources
    finished = SweepState(RunGraph(), frozenset(), frozenset())
    return driver.trial_resources(resources, finished, Store(str(folder / "runs")), lambda *lines: None)


@pytest.mark.parametrize(("cluster_resources", "gpus"), [({"CPU": 4.0}, {}), ({"CPU": 4.0, "GPU": 2.0}, {"gpu": 1.0})])
def test_auto_reserves_a_gpu_if_the_cluster_has_one(
    cluster_resources: dict[str, float], gpus: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: cluster_resources)
    assert auto_resources(tmp_path) == {"cpu": 1.0} | gpus


def test_auto_without_a_running_node_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"memory": 1e9})
    with pytest.raises(driver.SweepError, match=r"resources\.gpus: 'auto' needs a running node"):
        auto_resources(tmp_path)
