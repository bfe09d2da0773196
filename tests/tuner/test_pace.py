"""The time that is left, from rates of each shape of run: worked by hand."""

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
def other() -> list[TrialSpec]:
    return [trial for trial in parse_sweep(SHAPES, "shapes").trials.values() if trial.model.name == "resnet18"]


def whole(pace: EtaEstimator, spec: TrialSpec, begin: float, end: float) -> None:
    """``spec`` from its beginning to its end."""
    pace.start(spec.id, spec, begin)
    pace.update(spec.id, 1.0, end)
    pace.finish(spec.id, end, final=True)


def test_nothing_is_known_before_something_was_measured(small: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs(small)
    assert pace.seconds_left(5.0) is None
    pace.start(small[0].id, small[0], 0.0)
    pace.update(small[0].id, 0.5, 30.0)
    assert pace.seconds_left(30.0) is None  # the start of Ray and half a run: from here on it is measured
    pace.update(small[0].id, 0.75, 40.0)
    assert pace.seconds_left(40.0) == pytest.approx(13 * 10)  # a quarter in 10 s; a quarter and three runs are left


def test_each_shape_has_its_own_rate(small: list[TrialSpec], other: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs([*small, *other])
    pace.start(small[0].id, small[0], 0.0)
    pace.update(small[0].id, 0.0, 0.0)  # the first sign
    pace.update(small[0].id, 1.0, 10.0)
    pace.finish(small[0].id, 10.0, final=True)
    whole(pace, other[0], 10.0, 110.0)
    # Ten seconds a small one, a hundred the other, whatever their operations say; one at a time.
    assert training_flops(other[0]) < 10 * training_flops(small[0])
    assert pace.seconds_left(110.0) == pytest.approx(3 * 10 + 100)


def test_what_runs_at_the_same_time_takes_less(small: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs(small)
    for spec in small[:2]:
        pace.start(spec.id, spec, 0.0)
    pace.update(small[0].id, 0.0, 0.0)
    for spec in small[:2]:
        pace.update(spec.id, 1.0, 10.0)
        pace.finish(spec.id, 10.0, final=True)
    assert pace.seconds_left(10.0) == pytest.approx(10)  # two more, again both at once


def test_what_was_not_measured_goes_as_fast_as_the_rest(small: list[TrialSpec], other: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs([small[0], other[0]])
    pace.start(small[0].id, small[0], 0.0)
    pace.update(small[0].id, 0.0, 0.0)
    pace.update(small[0].id, 1.0, 10.0)
    pace.finish(small[0].id, 10.0, final=True)
    assert pace.seconds_left(10.0) == pytest.approx(10 * training_flops(other[0]) / training_flops(small[0]))


def test_a_run_to_be_tried_again_is_still_to_be_done(small: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs(small[:1])
    pace.start(small[0].id, small[0], 0.0)
    pace.update(small[0].id, 0.0, 0.0)
    pace.update(small[0].id, 0.5, 10.0)
    pace.finish(small[0].id, 10.0, final=False)
    assert pace.operations_done() == 0
    assert pace.seconds_left(10.0) == pytest.approx(20)


def test_suggestions_to_come_count_as_those_before(small: list[TrialSpec]) -> None:
    pace = EtaEstimator()
    pace.add_runs(small[:1])
    pace.start(small[0].id, small[0], 0.0)
    pace.update(small[0].id, 0.0, 0.0)
    pace.update(small[0].id, 1.0, 10.0)
    pace.finish(small[0].id, 10.0, final=True)
    assert pace.seconds_left(10.0, unknown=3) == pytest.approx(30)
    assert pace.operations_total(unknown=3) == pytest.approx(4 * training_flops(small[0]))
