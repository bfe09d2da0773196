"""How fast a machine trains the networks of a sweep: measured, said, kept, and used by the plan."""

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


def measured(sweep: Sweep, store: Store) -> list[str]:
    found = throughput.measure(build_graph(sweep.trials).runs.values(), store, sweep.resources)
    return [throughput.format_rate(one) for one in found]


def test_every_kind_of_training_is_measured_once_and_the_plan_knows_hours(sweep: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert format_estimate(estimate(sweep, store))[-1].endswith("unknown. Measure the speed: sparsweep calibrate")
    said = measured(sweep, store)
    assert len(said) == 2 and all(" images/s on " in line for line in said)
    attacks = {line.split(", ")[-1].partition(":")[0] for line in said}
    assert attacks == {"no attack", "under attack (7 forward passes per image)"}, "3, and 2 for each of 2 steps"
    assert all(line.startswith("resnet8 stem 3x3 width 0.25 at 8 px, ") for line in said)
    assert format_estimate(estimate(sweep, store))[-1].split(", ")[-1].startswith("calibrated on ")


def test_it_is_measured_with_the_levers_of_the_sweep(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[ExecutionConfig] = []

    class Seen(ThroughputProbe):
        def __init__(self, spec: Any, device: torch.device, engine: ExecutionConfig) -> None:
            used.append(engine)
            super().__init__(spec, device, engine)
            assert self.training.runner.capture_fn is None or engine.graphs

    monkeypatch.setattr(throughput, "ThroughputProbe", Seen)
    store, turned = Store(str(tmp_path)), parse_sweep(TEXT, "calibrated", ["resources.execution.graphs=false"])
    assert all(", graphs off, " in line for line in measured(turned, store))
    assert used == [ExecutionConfig(graphs=False)] * 2
    assert estimate(turned, store)["hours"] is not None and estimate(sweep, store)["hours"] is None


def test_what_does_not_fit_is_said_and_no_hours_rest_on_it(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*arguments: Any) -> ThroughputProbe:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(throughput, "ThroughputProbe", too_large)
    store = Store(str(tmp_path))
    assert all("does not fit into memory on " in line for line in measured(sweep, store))
    assert estimate(sweep, store)["hours"] is None
