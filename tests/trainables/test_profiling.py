"""Profiler: shares of time with a fake clock, and a profiled epoch with unchanged results."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training import profiler
from sparsweep.trainables.training.profiler import (
    PHASES,
    TRACED_STEPS,
    EpochProfiler,
    iterate_phase,
    phase,
    profile_call,
)
from support.tiny_trials import create_trainer, trial

CPU = torch.device("cpu")


def test_time_is_attributed_to_the_innermost_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(profiler.time, "perf_counter", lambda: clock.now)
    profile = EpochProfiler(CPU)
    monkeypatch.setattr(profiler, "_current", profile)

    def items() -> object:
        for number in range(2):
            clock.now += 1.0
            yield number

    for _ in iterate_phase("data", items()):
        with phase("forward"):
            clock.now += 4.0
            with phase("update"):
                clock.now += 2.0
        clock.now += 0.5
    profile.lap()
    assert profile.spent == {"data": 2.0, "forward": 8.0, "update": 4.0, "idle": 1.0}
    assert profile.format()[0] == "one epoch, 2 steps, 15.000 s"
    assert len(profile.format()) == 1 + len(PHASES)
    assert profile.format()[2].split()[:4] == ["forward", "53.3", "%", "8.000"]


def test_without_a_profile_nothing_is_measured() -> None:
    assert phase("forward") is not None and profiler._current is None
    assert list(iterate_phase("data", [1, 2])) == [1, 2]


def test_profiling_does_not_change_an_epoch(digits: DeviceData, tmp_path: Path) -> None:
    spec = trial(sparsifier={"name": "set", "update_every": 1}, sparsity=0.7)
    store, plain, profiled = Store(str(tmp_path)), create_trainer(spec, digits), create_trainer(spec, digits)
    plain.train_epoch()
    profile_call("run", CPU, store, profiled.train_epoch)
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, profiled.model.state_dict()[name]), name
    events = json.loads(store.read("profiles/run/trace.json") or b"")["traceEvents"]
    ranges = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    steps = len(plain.batches)
    assert ranges.count("forward") == min(steps, TRACED_STEPS) == ranges.count("backward")
    summary = (store.read("profiles/run/summary.txt") or b"").decode()
    assert summary.startswith(f"one epoch, {steps} steps")
    shares = {line.split()[0]: float(line.split()[1]) for line in summary.splitlines()[1:]}
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    assert shares["forward"] > 0 and shares["backward"] > 0
