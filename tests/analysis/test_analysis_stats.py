"""Intervals, tests, correction, power and regression, compared with SciPy, worked examples and simulations."""

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
def test_t_interval_and_p_value_match_scipy(n, level):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    expected = scipy_stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(level)
    assert stats.t_interval(values, level) == pytest.approx((interval.low, interval.high))
    assert stats.t_p_value(values) == pytest.approx(expected.pvalue)


def test_one_value_has_no_interval_and_no_p_value():
    assert np.isnan(stats.t_interval(np.array([0.1]))).all()
    assert math.isnan(stats.t_p_value(np.array([0.1])))


def test_equal_values_have_no_p_value():
    # 0.61 - 0.60 and 0.62 - 0.61 differ only in the last bit.
    values = np.array([0.61 - 0.60, 0.62 - 0.61])
    assert stats.t_interval(values) == pytest.approx((0.01, 0.01), abs=1e-12)
    assert math.isnan(stats.t_p_value(values))


def test_bootstrap_is_scipy_bca_with_the_given_generator():
    values = np.random.default_rng(5).exponential(size=25)
    expected = scipy_stats.bootstrap((values,), np.mean, method="BCa", n_resamples=9999, rng=np.random.default_rng(7))
    result = stats.bootstrap_interval(values, np.random.default_rng(7))
    assert result == pytest.approx(tuple(expected.confidence_interval))
    assert stats.bootstrap_interval(values, np.random.default_rng(8)) != result


def test_mean_interval_is_student_t_for_few_and_bootstrap_for_many_replicates():
    values = np.random.default_rng(5).exponential(size=stats.BOOTSTRAP_FROM)
    assert stats.mean_interval(values[:-1]) == stats.t_interval(values[:-1])
    assert stats.mean_interval(values) == stats.bootstrap_interval(values, np.random.default_rng(0))


@pytest.mark.parametrize("n", [3, 5])
def test_interval_has_its_nominal_coverage(n):
    generator = np.random.default_rng(11)
    samples = generator.normal(0.7, 2, (4000, n))
    bounds = np.array([stats.mean_interval(sample) for sample in samples])
    covered = ((bounds[:, 0] <= 0.7) & (bounds[:, 1] >= 0.7)).mean()
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_bootstrap_interval_has_nearly_its_nominal_coverage():
    generator = np.random.default_rng(12)
    samples = generator.normal(0.7, 2, (400, stats.BOOTSTRAP_FROM))
    bounds = np.array([stats.bootstrap_interval(sample, generator, resamples=999) for sample in samples])
    covered = ((bounds[:, 0] <= 0.7) & (bounds[:, 1] >= 0.7)).mean()
    assert 0.89 <= covered <= 0.98  # the BCa interval is slightly too narrow at n = 20


def test_wilcoxon_needs_six_values():
    values = np.array([0.5, 1.5, -0.2, 2.0, 3.0, 1.1])
    assert math.isnan(stats.wilcoxon_p_value(values[:5]))
    # Of the 64 sign patterns on ranks 1..6, 2 have a negative rank sum of at most 1. Two-sided: 4 of 64.
    assert stats.wilcoxon_p_value(values) == pytest.approx(4 / 64)


def test_holm_matches_worked_example():
    # Sorted 0.01 0.02 0.03 0.2, times 4, 3, 2, 1: 0.04 0.06 0.06 0.2.
    result = stats.holm(np.array([0.03, 0.01, NAN, 0.2, 0.02]))
    np.testing.assert_allclose(result, [0.06, 0.04, NAN, 0.2, 0.06])
    assert list(stats.holm(np.array([0.9, 0.8]))) == [1, 1]
    assert len(stats.holm(np.array([]))) == 0


def groups_of(values):
    """Return a frame with groups g0000, g0001, ... ``values`` has shape ``(groups, n)``."""
    keys = np.repeat([f"g{index:04}" for index in range(len(values))], values.shape[1])
    return pd.DataFrame({"a": keys, "b": 1, "x": values.ravel()})


@pytest.mark.parametrize("n", [3, 7, 21])
def test_groups_are_tested_like_single_samples(n):
    values = np.random.default_rng(n).normal(0.5, 1, (4, n))
    result = stats.test_groups(groups_of(values), "x", ["a", "b"], generator=np.random.default_rng(3))
    generator = np.random.default_rng(3)
    for sample, row in zip(values, result.to_dict("records"), strict=True):
        assert (row["n"], row["mean"]) == (n, pytest.approx(sample.mean()))
        assert (row["low"], row["high"]) == pytest.approx(stats.mean_interval(sample, generator=generator))
        assert row["p"] == pytest.approx(stats.t_p_value(sample))
        assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon_p_value(sample), nan_ok=True)
    np.testing.assert_allclose(result["p_holm"], stats.holm(result["p"].to_numpy()))


def test_planted_effect_is_significant_and_null_effects_are_not():
    generator = np.random.default_rng(21)
    values = generator.normal(0, 1, (40, 4))
    values[7] = 100 + generator.normal(0, 1, 4)
    result = stats.test_groups(groups_of(values), "x", ["a", "b"])
    assert list(result.index[result["significant"]]) == [7]


def test_holm_controls_the_family_wise_error_rate():
    generator = np.random.default_rng(22)
    families = [stats.test_groups(groups_of(generator.normal(0, 1, (20, 3))), "x", ["a", "b"]) for _ in range(300)]
    family_wise_error = np.mean([family["significant"].any() for family in families])
    uncorrected = np.mean([(family["p"] < 0.05).any() for family in families])
    assert family_wise_error < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)
    assert uncorrected > 0.5  # 1 - 0.95^20 = 0.64: the correction is needed


@pytest.mark.parametrize(("effect", "total"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_required_seeds_match_published_power_tables(effect, total):
    """Sample sizes of published power tables and G*Power: one-sample t-test, two-sided 0.05, power 0.8, Cohen's d."""
    values = np.array([-1.0, 0.0, 1.0]) + effect  # standard deviation 1
    assert stats.required_extra_seeds(values) == total - 3
    assert stats.required_extra_seeds(values + 5, boundary=5) == total - 3


def test_power_is_reached_in_simulation():
    values = np.array([-1.0, 0.0, 1.0]) + 0.9
    extra_seeds = stats.required_extra_seeds(values)
    samples = np.random.default_rng(31).normal(0.9, 1, (2000, 3 + extra_seeds))
    power = np.mean(scipy_stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert power == pytest.approx(0.8, abs=0.05)


def test_effect_on_the_boundary_has_no_required_number_of_seeds():
    assert stats.required_extra_seeds(np.array([-1.0, 0.0, 1.0])) is None
    assert stats.required_extra_seeds(np.array([-1.0, 0.0, 1.0]) + 1e-4) is None  # more than MOST_REPLICATES
    assert stats.required_extra_seeds(np.array([1.0, 1.0])) == 1


def test_regression_has_the_least_squares_slope_and_a_student_t_interval():
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.9, 5.2, 6.9])
    result = stats.regression(x, y)
    # sum((x - 1.5)(y - 4)) = 10 and sum((x - 1.5)^2) = 5, so the slope is 2.
    assert result.slope == pytest.approx(2.0)
    residuals = y - (1 + 2 * x)
    error = math.sqrt((residuals**2).sum() / 2 / 5)
    assert result.high - result.slope == pytest.approx(4.302653 * error, abs=1e-6)
    assert (result.intercept, result.n) == (pytest.approx(1.0), 4)


def test_regression_needs_three_points_for_an_interval_and_two_distinct_x():
    result = stats.regression(np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    assert result.slope == pytest.approx(2) and math.isnan(result.low)
    assert stats.regression(np.array([1.0, 1.0]), np.array([1.0, 3.0])) is None
