"""The trainable without Tune: actions, results and files of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sparsweep.trainables import trainable
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.runs import base as runs
from sparsweep.trainables.runs.kinds import is_finished
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import RunSpec, to_json
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.trainable import SparseTrainable
from support.tiny_trials import trial

Make = Callable[[RunSpec], SparseTrainable]


@pytest.fixture
def make(store: Store, raw_digits: ImageData, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that creates a worker for one run. Object references of Ray are replaced by the objects."""
    monkeypatch.setattr(trainable.ray, "get", lambda reference: reference)
    monkeypatch.setattr(trainable, "MIN_REPORT_INTERVAL_S", 0.0)  # a step is one epoch

    def build(spec: RunSpec) -> SparseTrainable:
        worker = SparseTrainable.__new__(SparseTrainable)
        worker.config = {"run": spec.id}
        datasets: Any = {spec.dataset_spec.model_dump_json(): raw_digits}
        worker.setup(worker.config, {spec.id: to_json(spec)}, datasets, store, "test")
        return worker

    return build


def test_step_trains_one_epoch_and_writes_a_checkpoint(make: Make, store: Store) -> None:
    spec = trial()
    worker = make(spec)
    first = worker.step()
    assert (first["epoch"], first["epochs"], first["done"]) == (1, 2, False)
    assert store.checkpoints() == {spec.id} and not store.finished()
    assert worker.step()["done"]
    assert store.finished() == {spec.id} and not store.checkpoints()


def test_another_worker_resumes_at_the_checkpoint(make: Make, store: Store) -> None:
    spec = trial()
    make(spec).step()
    result = make(spec).step()
    assert {name: result[name] for name in ("epoch", "epochs", "done")} == {"epoch": 2, "epochs": 2, "done": True}
    assert result["images_per_second"] > 0


@pytest.mark.parametrize("spec", [trial(), ScoringSpec.of(trial(), 1000, 1, "el2n")], ids=["trial", "scores"])
def test_finished_run_is_not_trained_again(
    spec: RunSpec, make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make(spec)
    while not worker.step()["done"]:
        pass
    assert is_finished(spec, store)

    def never(*arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainable, "open_run", never)
    assert make(spec).step()["done"]


def test_trial_with_lost_weights_is_trained_again(make: Make, store: Store) -> None:
    spec = trial()
    worker = make(spec)
    while not worker.step()["done"]:
        pass
    store.delete(store.artifact_path("weights", spec.id))
    assert not is_finished(spec, store)
    assert not make(spec).step()["done"]


def test_reset_drops_the_run_and_keeps_the_data(make: Make) -> None:
    worker = make(trial())
    worker.step()
    assert worker.run is not None
    assert worker.reset_config({"run": "another"})
    assert worker.run is None and worker.device_data_cache.held is not None


def test_runs_of_the_same_shapes_share_a_runner_without_changing_results(make: Make, store: Store) -> None:
    """Three runs on one worker. The second has the shapes of the first, the third has another width."""
    specs = [
        trial(seed=1),
        trial(seed=2, sparsifier="set", sparsity=0.5),
        trial(model={"name": "resnet8", "width": 0.5}),
    ]
    worker, runners = make(specs[0]), []
    worker.specs = {spec.id: to_json(spec) for spec in specs}
    for spec in specs:
        worker.config = {"run": spec.id}
        worker.reset_config(worker.config)
        while not worker.step()["done"]:
            pass
        runners.append(worker.runner_cache.runner)
    assert runners[0] is runners[1] and runners[1] is not runners[2]
    shared = store.read_weights(specs[1].id)["model"]
    store.delete(store.artifact_path("weights", specs[1].id))
    separate = make(specs[1])
    while not separate.step()["done"]:
        pass
    for name, value in store.read_weights(specs[1].id)["model"].items():
        assert torch.equal(value, shared[name]), name


def test_runner_is_not_used_again_after_an_error(make: Make) -> None:
    worker = make(trial(recipe={"preset": "digits", "epochs": 2, "lr": 1e30}))
    with pytest.raises(ArithmeticError):
        worker.step()
    assert worker.runner_cache.runner is None


def test_error_is_recorded_and_raised(make: Make, store: Store) -> None:
    spec = trial(recipe={"preset": "digits", "epochs": 2, "lr": 1e30})
    worker = make(spec)
    for attempt in (1, 2):
        with pytest.raises(ArithmeticError, match="the training loss is nan in epoch 1"):
            worker.step()
        assert store.failures()[spec.id]["attempt"] == attempt
    assert store.failures()[spec.id]["error"] == "DivergedError"
    assert not store.finished()


def test_out_of_memory_error_is_recorded(make: Make, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(runs.TrainingRun, "train_epoch", full)
    spec = trial()
    with pytest.raises(torch.OutOfMemoryError):
        make(spec).step()
    failure = store.failures()[spec.id]
    assert (failure["error"], failure["message"][:18]) == ("OutOfMemoryError", "CUDA out of memory")


def test_run_waits_once_before_a_retry(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(trainable.time, "sleep", waits.append)
    worker = make(trial())
    worker.config["wait"] = 4.0
    worker.step()
    worker.step()
    assert waits == [4.0]


def test_resnet18_trains_on_enlarged_digits(make: Make, store: Store) -> None:
    spec = trial(model={"name": "resnet18", "width": 0.125}, recipe={"preset": "digits", "epochs": 1}, data_ratio=0.05)
    worker = make(spec)
    assert worker.step()["done"]
    assert worker.device_data_cache.held is not None
    assert worker.device_data_cache.held.train_images.shape[1:] == (3, 32, 32)
    assert store.finished() == {spec.id}
