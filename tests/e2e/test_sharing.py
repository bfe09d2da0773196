"""Trials that share a device, in real processes: the throughput measurement, and a lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from sparsweep.trainables.specs.run import from_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.trainable import SparseTrainable
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.tuner.config.sweep import SweepError, parse_sweep
from sparsweep.tuner.execution import driver
from sparsweep.tuner.execution.progress import ProgressCallback
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.hardware import throughput
from sparsweep.tuner.planning.graph import build_graph, compute_state

pytestmark = pytest.mark.slow

SPEC = TrialSpec.model_validate(
    {"dataset": "digits", "model": "resnet8", "sparsifier": "dense", "recipe": {"preset": "digits", "epochs": 20}}
)

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids: [{sparsifier: dense, seed: {from: 0, to: 5, step: 1}}]
resources: {gpus: 0.25}
retries: 0
"""


@pytest.fixture
def machine() -> Iterator[None]:
    """Start Ray with two CPUs and a GPU that exists only as a Ray resource."""
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_processes_are_measured_at_the_same_time(machine: None) -> None:
    with throughput.start_actors(SPEC, ExecutionConfig(), "cpu", 2) as actors:
        assert throughput.joint_rate(actors, 1) > 0
        assert throughput.joint_rate(actors, 2) > 0


def test_a_measurement_is_not_repeated(machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "TRIALS_PER_GPU", (1, 2))
    rates = {1: 100.0, 2: 180.0, 3: 181.0}
    monkeypatch.setattr(throughput, "joint_rate", lambda actors, count: rates[count])
    messages: list[str] = []
    store = Store(str(tmp_path))
    assert throughput.measure_gpu_sharing([SPEC], ExecutionConfig(), store, messages.append, "cpu") == 2
    rates.clear()
    assert throughput.measure_gpu_sharing([SPEC], ExecutionConfig(), store, messages.append, "cpu") == 2
    assert len(messages) == 1 and "1: 100, 2: 180, 3: 181" in messages[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU that PyTorch can use")
def test_a_gpu_that_pytorch_cannot_use_is_an_error_before_any_trial(machine: None, tmp_path: Path) -> None:
    """Ray reports a GPU that PyTorch cannot use, as with a GPU driver that is too old for PyTorch."""
    with pytest.raises(SweepError, match=r"^resources\.gpus: 'auto' failed, PyTorch cannot use .*NVIDIA.*gpus=0"):
        throughput.measure_gpu_sharing([SPEC], ExecutionConfig(), Store(str(tmp_path)), print)


def crowded() -> type[SparseTrainable]:
    """Return a trainable that runs out of memory: odd seeds on 1/4 of the GPU, and seed 3 also on 1/3."""

    class Crowded(SparseTrainable):
        def setup(self, config: dict[str, Any], device: str = "cuda", **options: Any) -> None:
            super().setup(config, device="cpu", **options)

        def _step(self, run_id: str) -> dict[str, Any]:
            seed, share = from_json(self.specs[run_id]).seed, self.trial_resources.required_resources["GPU"]
            if (share < 0.3 and seed % 2) or (share < 0.4 and seed == 3):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super()._step(run_id)

    return Crowded


def test_no_trial_is_lost_when_gpu_memory_is_too_small(
    machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SparseTrainable", crowded())
    monkeypatch.setattr(driver, "cluster", lambda *where: nullcontext())
    sweep, store = parse_sweep(SWEEP, "crowded"), Store(str(tmp_path))
    state = compute_state(build_graph(sweep.trials), store)
    images = {SPEC.dataset_spec.model_dump_json(): SPEC.dataset_spec.load()}
    with ProgressCallback(sweep.name, state, store) as progress:
        driver.execute(RunOptions(sweep, store), state, images, progress)
    assert store.finished() == set(sweep.trials) == progress.done
    assert not progress.failed and not store.failures()
    failed = {row["trial"] for row in tables.read_table(store.storage, "failures")[0].to_pylist()}
    assert sweep.trials.keys() >= failed >= {run for run, trial in sweep.trials.items() if trial.seed == 3}
