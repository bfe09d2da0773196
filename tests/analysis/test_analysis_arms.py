"""Means, standard deviations and paired differences, compared with worked examples and with SciPy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sparsweep.analysis import groups
from sparsweep.trainables.storage import schemas


def test_arm_keys_are_declared_columns():
    assert set(groups.ARM_KEYS) <= set(schemas.SCHEMAS["trials"].names)


def test_arm_keys_are_all_columns_except_results():
    results = {"trial", "sweep", "seed", "density", "samples", "spec", "evaluation_every", "commit", "versions", "code"}
    measured = {name for name in schemas.SCHEMAS["trials"].names if name.endswith(("_accuracy", "_flops", "_at"))}
    measured |= {
        "train_loss",
        "exploration_rate",
        "mask_overlap",
        "parameters",
        "nonzero_parameters",
        "seconds",
        "images_per_second",
        "device",
        "threads",
        "steps",
        "mask_updates",
        "late_gain",
        "nll",
        "brier",
        "ece",
        "adaptive_ece",
        "aurc",
        "ood_auroc_confidence",
        "ood_auroc_energy",
        "undertrained",
        "epochs_to_fit",
        "comparison",  # derived from the other columns and the number of evaluations
    }
    remaining = set(schemas.SCHEMAS["trials"].names) - results - measured
    assert remaining == set(groups.ARM_KEYS), "add a new column to groups.ARM_KEYS, or to the results in this test"


def test_mean_and_sample_standard_deviation_match_worked_example(frame, row):
    trials = frame([row("set", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.60, 0.62, 0.67))])
    [point] = groups.summarise(trials).to_dict("records")
    assert point["n"] == 3
    assert point["mean"] == pytest.approx(0.63)
    assert point["std"] == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))  # divided by n - 1


def test_one_seed_has_no_standard_deviation(frame, row):
    [point] = groups.summarise(frame([row("set", 0.5, 0, 0.6)])).to_dict("records")
    assert (point["n"], point["mean"]) == (1, 0.6)
    assert math.isnan(point["std"])


def test_unfinished_trials_are_not_counted(frame, row):
    trials = frame([row("set", 0.5, 0, 0.6), row("set", 0.5, 1, None)])
    assert list(groups.summarise(trials)["n"]) == [1]


def test_repeated_seed_is_counted_once(frame, row):
    trials = frame([row("set", 0.5, 0, 0.6), row("set", 0.5, 0, 0.6, evaluation_every=10)])
    assert list(groups.summarise(trials)["n"]) == [1]


def test_paired_difference_matches_worked_example(comparison):
    result = groups.paired_differences(comparison).set_index(["data_ratio", "sparsity"])
    point = result.loc[(0.3, 0.5)]
    # Differences 0.01, 0.02, 0.03: mean 0.02, standard deviation 0.01.
    # 4.302653 is the 0.975 quantile of Student's t with two degrees of freedom.
    assert point["n"] == 3
    assert point["mean"] == pytest.approx(0.02)
    assert point["low"] == pytest.approx(0.02 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-8)
    assert point["high"] == pytest.approx(0.02 + 4.302653 * 0.01 / math.sqrt(3), abs=1e-8)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 19])
def test_interval_matches_scipy_paired_t_test(frame, row, n, level):
    generator = np.random.default_rng(n)
    dense, sparse = generator.normal(0.6, 0.02, n), generator.normal(0.61, 0.02, n)
    rows = [row("dense", 0.0, seed, value) for seed, value in enumerate(dense)]
    rows += [row("set", 0.5, seed, value) for seed, value in enumerate(sparse)]
    [point] = groups.paired_differences(frame(rows), level=level).to_dict("records")
    expected = scipy_stats.ttest_rel(sparse, dense).confidence_interval(level)
    assert point["mean"] == pytest.approx((sparse - dense).mean())
    assert (point["low"], point["high"]) == pytest.approx((expected.low, expected.high))


def test_seeds_without_a_partner_are_excluded(frame, row):
    rows = [row("dense", 0.0, seed, 0.6) for seed in (0, 1, 2)]
    rows += [row("set", 0.5, seed, value) for seed, value in ((1, 0.61), (2, 0.63), (3, 0.99))]
    pairs = groups.pair_with_dense(frame(rows))
    assert sorted(pairs["seed"]) == [1, 2]
    [point] = groups.paired_differences(frame(rows)).to_dict("records")
    assert (point["n"], point["mean"]) == (2, pytest.approx(0.02))


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "cifar10"},
        {"model": "vgg16"},
        {"difficulty": "none"},
        {"difficulty_parameters": '{"keep": "easiest", "runs": 10}'},
        {"data_ratio": 0.5},
        {"epochs": 100},
        {"lr": 0.05},
        {"precision": "bf16"},
    ],
)
def test_trials_of_different_settings_are_not_paired(frame, row, change):
    trials = frame([row("dense", 0.0, 0, 0.6, **change), row("set", 0.5, 0, 0.6)])
    assert groups.pair_with_dense(trials).empty
    assert groups.paired_differences(trials).empty


def test_column_missing_in_old_files_does_not_prevent_pairing(frame, row):
    trials = frame([row("dense", 0.0, 0, 0.6, gamma=None), row("set", 0.5, 0, 0.7, gamma=None)])
    assert list(groups.paired_differences(trials)["n"]) == [1]


def test_one_pair_has_no_interval(frame, row):
    [point] = groups.paired_differences(frame([row("dense", 0.0, 0, 0.6), row("set", 0.5, 0, 0.61)])).to_dict("records")
    assert (point["n"], point["mean"]) == (1, pytest.approx(0.01))
    assert math.isnan(point["low"])
    assert math.isnan(point["high"])


def test_missing_grid_points_have_zero_seeds(comparison):
    sparse = comparison[comparison["sparsifier"] != "dense"]
    filled = groups.fill_grid(groups.paired_differences(comparison), groups.grid(sparse)).set_index(
        ["data_ratio", "sparsity"]
    )
    assert len(filled) == 6
    assert filled.loc[(0.3, 0.8), "n"] == 0
    assert math.isnan(filled.loc[(0.3, 0.8), "mean"])
    assert (filled.drop((0.3, 0.8))["n"] == 3).all()


def test_given_grid_replaces_the_inferred_grid(comparison):
    sparse = comparison[comparison["sparsifier"] != "dense"]
    filled = groups.fill_grid(groups.paired_differences(comparison), sparse)
    assert len(filled) == 5 and (filled["n"] == 3).all()  # sparsity 0.8 at data ratio 0.3 is not in the grid


def test_nm_masks_have_one_sparsity_in_the_grid(frame, row):
    two_of_four = {"sparsifier_parameters": '{"n":2,"m":4}'}
    rows = [row("set", sparsity, 0, 0.6) for sparsity in (0.5, 0.8)] + [row("nm", 0.5, 0, 0.6, **two_of_four)]
    rows += [row("set", sparsity, 0, 0.6, data_ratio=1.0) for sparsity in (0.5, 0.8)]
    result = groups.grid(frame(rows))
    points = result.loc[result["sparsifier"] == "nm", ["data_ratio", "sparsity"]].to_numpy().tolist()
    assert points == [[0.3, 0.5], [1.0, 0.5]]  # missing at data ratio 1; no entry at another sparsity


def test_scattered_trials_are_not_expanded_to_a_grid(frame, row):
    rows = [row(("set", "snip", "gmp")[k % 3], 0.1 + 0.0123 * k, 0, 0.6) for k in range(15)]
    assert len(groups.grid(frame(rows))) == 15


def test_interval_of_a_mean(comparison):
    point = groups.summarise(comparison).query("sparsifier == 'dense' and data_ratio == 0.3").iloc[0]
    student_t = 4.3027  # 0.975 quantile, two degrees of freedom
    assert point["interval"] == pytest.approx(student_t * 0.02 / math.sqrt(3), rel=1e-4)
    assert groups.half_interval(pd.Series([math.nan]), pd.Series([1])).isna().all()


def test_inputs_are_not_modified(comparison):
    before = comparison.copy()
    groups.summarise(comparison)
    groups.paired_differences(comparison)
    assert comparison.equals(before)


def test_lth_parameters_are_canonical_across_sparsities():
    """Three rounds reach 0.875 through 0.5 and 0.75, and 0.488 through 0.2 and 0.36: each removes 1/2 or 1/5."""
    canonical = groups.canonical_lth_parameters('{"rounds":3,"through":[0.5,0.75],"rewind_to":0}', 0.875)
    assert canonical == groups.canonical_lth_parameters('{"rounds":3,"through":[0.2,0.36],"rewind_to":0}', 0.488)
    assert canonical == '{"rounds":3,"rewind_to":0}'
    assert (
        groups.canonical_lth_parameters('{"rounds":1,"through":[],"rewind_to":0}', 0.9) == '{"rounds":1,"rewind_to":0}'
    )
    chain = [
        groups.canonical_lth_parameters(f'{{"rounds":{len(below) + 1},"through":{below}}}', sparsity)
        for below, sparsity in (([0.1], 0.2), ([0.1, 0.2], 0.3))
    ]
    assert chain[0] == chain[1] == '{"rounds":"through lower sparsities"}'
