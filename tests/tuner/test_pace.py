"""Remaining time, estimated from the rate of each shape of run. All values are worked examples."""

from __future__ import annotations

import pytest

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.execution.eta import EtaEstimator
from sparsweep.tuner.planning.estimate import training_flops

SHAPES = """
base: {dataset: digits, recipe: {preset: digits, epochs: 4}, sparsifier: dense}
grids:
  - {model: resnet8, seed: [0, 1, 2, 3]}
  - {model: {name: resnet18, width: 0.0625}, seed: [0, 1]}
"""


@pytest.fixture
def small() -> list[TrialSpec]:
    return [trial for trial in parse_sweep(SHAPES, "shapes").trials.values() if trial.model.name == "resnet8"]


@pytest.fixture
def large() -> list[TrialSpec]:
    return [trial for trial in parse_sweep(SHAPES, "shapes").trials.values() if trial.model.name == "resnet18"]


def report_complete(estimator: EtaEstimator, spec: TrialSpec, start: float, end: float) -> None:
    """Report ``spec`` from its start to its end."""
    estimator.start(spec.id, spec, start)
    estimator.update(spec.id, 1.0, end)
    estimator.finish(spec.id, end, final=True)


def test_remaining_time_is_unknown_without_a_measurement(small: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs(small)
    assert estimator.seconds_left(5.0) is None
    estimator.start(small[0].id, small[0], 0.0)
    estimator.update(small[0].id, 0.5, 30.0)
    assert estimator.seconds_left(30.0) is None  # the first report includes Ray's start, so rates start here
    estimator.update(small[0].id, 0.75, 40.0)
    assert estimator.seconds_left(40.0) == pytest.approx(13 * 10)  # 1/4 run in 10 s; 3 1/4 runs left


def test_each_shape_has_its_own_rate(small: list[TrialSpec], large: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs([*small, *large])
    estimator.start(small[0].id, small[0], 0.0)
    estimator.update(small[0].id, 0.0, 0.0)  # first report
    estimator.update(small[0].id, 1.0, 10.0)
    estimator.finish(small[0].id, 10.0, final=True)
    report_complete(estimator, large[0], 10.0, 110.0)
    # 10 s per small run and 100 s per large run, one at a time. The number of operations does not matter.
    assert training_flops(large[0]) < 10 * training_flops(small[0])
    assert estimator.seconds_left(110.0) == pytest.approx(3 * 10 + 100)


def test_parallel_runs_reduce_the_remaining_time(small: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs(small)
    for spec in small[:2]:
        estimator.start(spec.id, spec, 0.0)
    estimator.update(small[0].id, 0.0, 0.0)
    for spec in small[:2]:
        estimator.update(spec.id, 1.0, 10.0)
        estimator.finish(spec.id, 10.0, final=True)
    assert estimator.seconds_left(10.0) == pytest.approx(10)  # two more runs, again in parallel


def test_shapes_without_a_measurement_use_the_mean_rate(small: list[TrialSpec], large: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs([small[0], large[0]])
    estimator.start(small[0].id, small[0], 0.0)
    estimator.update(small[0].id, 0.0, 0.0)
    estimator.update(small[0].id, 1.0, 10.0)
    estimator.finish(small[0].id, 10.0, final=True)
    assert estimator.seconds_left(10.0) == pytest.approx(10 * training_flops(large[0]) / training_flops(small[0]))


def test_run_to_be_retried_counts_completely(small: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs(small[:1])
    estimator.start(small[0].id, small[0], 0.0)
    estimator.update(small[0].id, 0.0, 0.0)
    estimator.update(small[0].id, 0.5, 10.0)
    estimator.finish(small[0].id, 10.0, final=False)
    assert estimator.operations_done() == 0
    assert estimator.seconds_left(10.0) == pytest.approx(20)


def test_future_suggestions_cost_the_mean_of_the_past(small: list[TrialSpec]) -> None:
    estimator = EtaEstimator()
    estimator.add_runs(small[:1])
    estimator.start(small[0].id, small[0], 0.0)
    estimator.update(small[0].id, 0.0, 0.0)
    estimator.update(small[0].id, 1.0, 10.0)
    estimator.finish(small[0].id, 10.0, final=True)
    assert estimator.seconds_left(10.0, unknown=3) == pytest.approx(30)
    assert estimator.operations_total(unknown=3) == pytest.approx(4 * training_flops(small[0]))
