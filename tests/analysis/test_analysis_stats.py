"""Intervals, tests, correction, power and regression: against SciPy, worked examples and simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sparsweep.analysis import stats

NAN = math.nan


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_t_interval_and_p_are_those_of_scipy(n, level):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    expected = scipy_stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(level)
    assert stats.t_interval(values, level) == pytest.approx((interval.low, interval.high))
    assert stats.t_p_value(values) == pytest.approx(expected.pvalue)


def test_one_value_has_neither_interval_nor_p():
    assert np.isnan(stats.t_interval(np.array([0.1]))).all()
    assert math.isnan(stats.t_p_value(np.array([0.1])))


def test_equal_values_are_no_evidence():
    # .61 - .60 and .62 - .61 differ in the last bit alone.
    values = np.array([0.61 - 0.60, 0.62 - 0.61])
    assert stats.t_interval(values) == pytest.approx((0.01, 0.01), abs=1e-12)
    assert math.isnan(stats.t_p_value(values))


def test_bootstrap_is_scipys_bca_drawn_from_the_given_generator():
    values = np.random.default_rng(5).exponential(size=25)
    expected = scipy_stats.bootstrap((values,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(7))
    found = stats.bootstrap_interval(values, np.random.default_rng(7))
    assert found == pytest.approx(tuple(expected.confidence_interval))
    assert stats.bootstrap_interval(values, np.random.default_rng(8)) != found


def test_few_replicates_get_students_interval_and_many_the_bootstrap():
    values = np.random.default_rng(5).exponential(size=stats.BOOTSTRAP_FROM)
    assert stats.mean_interval(values[:-1]) == stats.t_interval(values[:-1])
    assert stats.mean_interval(values) == stats.bootstrap_interval(values, np.random.default_rng(0))


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(n):
    generator = np.random.default_rng(11)
    samples = generator.normal(0.7, 2, (4000, n))
    bounds = np.array([stats.mean_interval(sample) for sample in samples])
    covered = ((bounds[:, 0] <= 0.7) & (bounds[:, 1] >= 0.7)).mean()
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_the_bootstrap_covers_nearly_as_often_where_it_is_used():
    generator = np.random.default_rng(12)
    samples = generator.normal(0.7, 2, (400, stats.BOOTSTRAP_FROM))
    bounds = np.array([stats.bootstrap_interval(sample, generator, resamples=999) for sample in samples])
    covered = ((bounds[:, 0] <= 0.7) & (bounds[:, 1] >= 0.7)).mean()
    assert 0.89 <= covered <= 0.98  # known to be a little too narrow at n = 20


def test_wilcoxon_waits_for_six_values():
    values = np.array([0.5, 1.5, -0.2, 2.0, 3.0, 1.1])
    assert math.isnan(stats.wilcoxon_p_value(values[:5]))
    # All orderings of signs on ranks 1..6: rank sum of negatives 1 is reached in 2 of 64, both sides: 4 of 64.
    assert stats.wilcoxon_p_value(values) == pytest.approx(4 / 64)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .2: times 4, 3, 2, 1 = .04 .06 .06 .2.
    found = stats.holm(np.array([0.03, 0.01, NAN, 0.2, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, NAN, 0.2, 0.06])
    assert list(stats.holm(np.array([0.9, 0.8]))) == [1, 1]
    assert len(stats.holm(np.array([]))) == 0


def groups_of(values):
    """A frame of groups g0, g1, ... with ``values`` [groups, n]."""
    keys = np.repeat([f"g{place:04}" for place in range(len(values))], values.shape[1])
    return pd.DataFrame({"a": keys, "b": 1, "x": values.ravel()})


@pytest.mark.parametrize("n", [3, 7, 21])
def test_groups_are_judged_as_one_by_one(n):
    values = np.random.default_rng(n).normal(0.5, 1, (4, n))
    found = stats.test_groups(groups_of(values), "x", ["a", "b"], generator=np.random.default_rng(3))
    generator = np.random.default_rng(3)
    for sample, row in zip(values, found.to_dict("records"), strict=True):
        assert (row["n"], row["mean"]) == (n, pytest.approx(sample.mean()))
        assert (row["low"], row["high"]) == pytest.approx(stats.mean_interval(sample, generator=generator))
        assert row["p"] == pytest.approx(stats.t_p_value(sample))
        assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon_p_value(sample), nan_ok=True)
    np.testing.assert_allclose(found["p_holm"], stats.holm(found["p"].to_numpy()))


def test_a_planted_effect_is_found_and_null_ones_are_not():
    generator = np.random.default_rng(21)
    values = generator.normal(0, 1, (40, 4))
    values[7] = 100 + generator.normal(0, 1, 4)
    found = stats.test_groups(groups_of(values), "x", ["a", "b"])
    assert list(found.index[found["significant"]]) == [7]


def test_holm_keeps_the_chance_of_any_false_finding():
    generator = np.random.default_rng(22)
    families = [stats.test_groups(groups_of(generator.normal(0, 1, (20, 3))), "x", ["a", "b"]) for _ in range(300)]
    alarms = np.mean([family["significant"].any() for family in families])
    uncorrected = np.mean([(family["p"] < 0.05).any() for family in families])
    assert alarms < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)
    assert uncorrected > 0.5  # 1 - .95^20 = .64: the correction is needed


@pytest.mark.parametrize(("effect", "total"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_power_agrees_with_published_tables(effect, total):
    """One-sample t, two-sided .05, power .8, for Cohen's d: the sizes of every power table (and of G*Power)."""
    values = np.array([-1.0, 0.0, 1.0]) + effect  # standard deviation 1
    assert stats.required_extra_seeds(values) == total - 3
    assert stats.required_extra_seeds(values + 5, boundary=5) == total - 3


def test_the_power_is_reached_in_simulation():
    values = np.array([-1.0, 0.0, 1.0]) + 0.9
    more = stats.required_extra_seeds(values)
    samples = np.random.default_rng(31).normal(0.9, 1, (2000, 3 + more))
    found = np.mean(scipy_stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.05)


def test_what_lies_on_the_boundary_is_never_told_from_it():
    assert stats.required_extra_seeds(np.array([-1.0, 0.0, 1.0])) is None
    assert stats.required_extra_seeds(np.array([-1.0, 0.0, 1.0]) + 1e-4) is None  # more than MOST_REPLICATES
    assert stats.required_extra_seeds(np.array([1.0, 1.0])) == 1


def test_regression_is_scipys_line_with_students_interval():
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.9, 5.2, 6.9])
    found = stats.regression(x, y)
    # By hand: slope = 9.8 * .. / 5: sum((x - 1.5)(y - 4)) = 10, sum((x - 1.5)^2) = 5.
    assert found.slope == pytest.approx(2.0)
    residuals = y - (1 + 2 * x)
    error = math.sqrt((residuals**2).sum() / 2 / 5)
    assert found.high - found.slope == pytest.approx(4.302653 * error, abs=1e-6)
    assert (found.intercept, found.n) == (pytest.approx(1.0), 4)


def test_regression_through_two_points_has_no_interval_and_through_one_place_no_line():
    found = stats.regression(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    assert found.slope == pytest.approx(2) and math.isnan(found.low)
    assert stats.regression(np.array([1.0, 1.0]), np.array([1.0, 3.0])) is None
