"""Training speed of a machine on the networks of a sweep: measured, printed, stored, and used by plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.trainables.training.throughput import ThroughputProbe
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.hardware import throughput
from sparsweep.tuner.planning.estimate import estimate, format_estimate
from sparsweep.tuner.planning.graph import build_graph

TEXT = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids:
  - {sparsifier: dense, seed: [0, 1]}
  - {sparsifier: set, sparsity: 0.8, difficulty: {name: adversarial, steps: 2, test_steps: 2}}
"""


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setattr(throughput, "RATE_SECONDS", 0.0)
    return parse_sweep(TEXT, "calibrated")


def measure(sweep: Sweep, store: Store) -> list[str]:
    measurements = throughput.measure(build_graph(sweep.trials).runs.values(), store, sweep.resources)
    return [throughput.format_rate(measurement) for measurement in measurements]


def test_every_kind_of_training_is_measured_once_and_the_plan_shows_hours(sweep: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert format_estimate(estimate(sweep, store))[-1].endswith("unknown. Measure the speed: sparsweep calibrate")
    lines = measure(sweep, store)
    assert len(lines) == 2 and all(" images/s on " in line for line in lines)
    attacks = {line.split(", ")[-1].partition(":")[0] for line in lines}
    assert attacks == {"no attack", "under attack (7 forward passes per image)"}, (
        "3 passes, and 2 for each of 2 attack steps"
    )
    assert all(line.startswith("resnet8 stem 3x3 width 0.25 at 8 px, ") for line in lines)
    assert format_estimate(estimate(sweep, store))[-1].split(", ")[-1].startswith("calibrated on ")


def test_speed_is_measured_with_the_execution_settings_of_the_sweep(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[ExecutionConfig] = []

    class RecordingProbe(ThroughputProbe):
        def __init__(self, spec: Any, device: torch.device, engine: ExecutionConfig) -> None:
            used.append(engine)
            super().__init__(spec, device, engine)
            assert self.training.runner.capture_fn is None or engine.graphs

    monkeypatch.setattr(throughput, "ThroughputProbe", RecordingProbe)
    store, without_graphs = Store(str(tmp_path)), parse_sweep(TEXT, "calibrated", ["resources.execution.graphs=false"])
    assert all(", graphs off, " in line for line in measure(without_graphs, store))
    assert used == [ExecutionConfig(graphs=False)] * 2
    assert estimate(without_graphs, store)["hours"] is not None and estimate(sweep, store)["hours"] is None


def test_out_of_memory_is_printed_and_gives_no_hours(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*arguments: Any) -> ThroughputProbe:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(throughput, "ThroughputProbe", too_large)
    store = Store(str(tmp_path))
    assert all("does not fit into memory on " in line for line in measure(sweep, store))
    assert estimate(sweep, store)["hours"] is None
