"""Trackers, called with simulated events of Tune."""

from __future__ import annotations

import logging
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.execution.trackers import RunTracker, Tracker, TrackerCallback, make_tracker, parameters

SWEEP = "base: {dataset: digits, model: resnet8, recipe: digits}\ngrids: [{sparsifier: set, sparsity: 0.5}]"


@pytest.fixture
def spec() -> TrialSpec:
    return next(iter(parse_sweep(SWEEP, "one").trials.values()))


def send_attempt(callback: TrackerCallback, spec: TrialSpec, epochs: range, finishes: bool) -> None:
    """Send the events of one attempt of ``spec`` over ``epochs``, which finishes or fails."""
    trial: Any = SimpleNamespace(trial_id=spec.id)
    callback.on_trial_start(0, [], trial)
    for epoch in epochs:
        result = {"epoch": epoch, "epochs": 4, "train_loss": 1 / epoch, "test_accuracy": None, "hostname": "here"}
        callback.on_trial_result(0, [], trial, result)
    if finishes:
        callback.on_trial_complete(0, [], trial)
    else:
        callback.on_trial_error(0, [], trial)


def events(file: Path) -> list[Event]:
    """Return the events of a TensorBoard file. A record has length, checksum, content and checksum."""
    content, result, offset = file.read_bytes(), [], 0
    while offset < len(content):
        (length,) = struct.unpack_from("<Q", content, offset)
        result.append(Event.FromString(content[offset + 12 : offset + 12 + length]))
        offset += 12 + length + 4
    return result


def test_tensorboard_continues_in_the_same_folder_with_epochs_as_steps(spec: TrialSpec, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    send_attempt(make_tracker(Tracker.tensorboard, "one", {spec.id: spec}, store), spec, range(1, 3), finishes=False)
    for file in tmp_path.rglob("events.out.*"):
        file.rename(file.with_name(f"{file.name}.earlier"))  # file names have a resolution of one second
    send_attempt(make_tracker(Tracker.tensorboard, "one", {spec.id: spec}, store), spec, range(3, 5), finishes=True)
    (folder,) = (tmp_path / "tracking/tensorboard/one").iterdir()
    assert folder.name == f"set-0.5-on-digits-resnet8-none-1-seed-0-{spec.id[:8]}"
    values = [
        (e.step, v.tag, v.simple_value) for file in folder.iterdir() for e in events(file) for v in e.summary.value
    ]
    losses = sorted((step, value) for step, tag, value in values if tag == "ray/tune/train_loss")
    assert losses == [(epoch, pytest.approx(1 / epoch)) for epoch in range(1, 5)]
    assert not any("hostname" in tag or "test_accuracy" in tag for _, tag, _ in values)
    assert any(tag.startswith("_hparams_") for _, tag, _ in values)


def test_mlflow_continues_in_the_same_run(spec: TrialSpec, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = Store(str(tmp_path))
    for epochs, finishes in ((range(1, 3), False), (range(3, 5), True)):
        send_attempt(make_tracker(Tracker.mlflow, "one", {spec.id: spec}, store), spec, epochs, finishes)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/tracking/mlflow/mlflow.db")
    (run,) = mlflow.search_runs(experiment_names=["one"], output_format="list")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == [(epoch, 1 / epoch) for epoch in range(1, 5)]
    assert run.data.params["sparsifier.name"] == "set" and run.data.params["recipe.lr"] == "0.02"
    assert (run.info.run_name, run.info.status) == (str(spec), "FINISHED")


def test_fields_of_a_spec_are_logged_as_parameters(spec: TrialSpec) -> None:
    logged = parameters(spec)
    assert (logged["sparsity"], logged["sparsifier.name"], logged["recipe.flip"]) == (0.5, "set", False)
    assert logged["recipe.milestones"] == "[0.5, 0.75]"


def test_missing_package_raises_one_line_with_the_fix(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    for name in (Tracker.mlflow, Tracker.wandb):
        with pytest.raises(UsageError, match=rf"--track {name}: .* pip install 'sparsweep\[{name}\]'"):
            make_tracker(name, "one", {spec.id: spec}, Store(str(tmp_path)))


def test_failed_tracker_is_not_called_again(spec: TrialSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class UnreachableTracker(RunTracker):
        calls = 0

        def start(self, spec: RunSpec) -> None:
            self.calls += 1
            raise ConnectionError("no such\nserver")

        def log(self, spec: RunSpec, metrics: Mapping[str, float], epoch: int) -> None:
            self.calls += 1

        def finish(self, spec: RunSpec, failed: bool) -> None:
            self.calls += 1

    tracker = UnreachableTracker()
    callback = TrackerCallback(Tracker.mlflow, tracker, {spec.id: spec})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            send_attempt(callback, spec, range(1, 3), finishes=True)
    assert tracker.calls == 1
    assert [record.getMessage() for record in caplog.records] == [
        "--track mlflow: no such server. Tracking stops, training continues."
    ]


def test_wandb_writes_offline_and_continues_in_the_same_run(
    spec: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    store = Store(str(tmp_path))
    for epochs, finishes in ((range(1, 3), False), (range(3, 5), True)):
        send_attempt(make_tracker(Tracker.wandb, "one", {spec.id: spec}, store), spec, epochs, finishes)
    files = list((tmp_path / "tracking/wandb/one").rglob("*.wandb"))
    assert files and all(file.name == f"run-{spec.id}.wandb" for file in files)
