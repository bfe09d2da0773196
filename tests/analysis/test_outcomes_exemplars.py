"""Exemplars, classes, agreement and flips: worked examples and independent references."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from sparsweep.analysis.outcomes.agreement import agreement, churn_and_kappa
from sparsweep.analysis.outcomes.classes import class_accuracy, worst_class
from sparsweep.analysis.outcomes.exemplars import exemplar_shares, exemplars, modal_predictions
from sparsweep.analysis.outcomes.flips import flips
from sparsweep.analysis.outcomes.matrix import ABSENT
from support.synthetic_outcomes import make_outcomes, matrix_of
from support.synthetic_tables import make_row, make_sweep

ANALYSES = (exemplars, exemplar_shares, class_accuracy, worst_class, agreement, flips)


@pytest.fixture
def rows():
    """Three dense seeds and SET at sparsity 0.5 with three."""
    return [make_row(*arm, seed, 0.5) for arm in (("dense", 0.0), ("set", 0.5)) for seed in range(3)]


@pytest.fixture
def small(rows, frame):
    """Five samples with the labels 0, 0, 1, 1, 2."""
    predictions = [[0, 0, 1, 2, 2], [0, 1, 1, 2, 0], [0, 0, 1, 1, 1], [0, 1, 1, 1, 2], [1, 1, 1, 1, 0], [0, 0, 1, 2, 2]]
    return matrix_of(dict(zip((r["trial"] for r in rows), predictions, strict=True)), [0, 0, 1, 1, 2]), frame(rows)


# exemplars -----------------------------------------------------------------------------------------------------------


def test_exemplars_match_a_worked_example(small):
    """Modes: dense 0 0 1 2 0 (tie of 0, 1 and 2), SET 0 1 1 1 2."""
    found = exemplars(*small)
    names = ["sample", "label", "dense_mode", "sparse_mode"]
    assert found[names].to_numpy().tolist() == [[1, 0, 0, 1], [3, 1, 2, 1], [4, 2, 0, 2]]
    assert list(found["dense_agreement"]) == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert list(found["sparse_agreement"]) == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    [row] = exemplar_shares(*small).to_dict("records")
    assert (row["n"], row["dense_n"], row["samples"], row["exemplars"], row["share"]) == (3, 3, 5, 3, 0.6)
    assert row["dense_accuracy"] == pytest.approx(4 / 9)  # of samples 1, 3 and 4: 2, 1 and 1 of 3 seeds
    assert row["dense_accuracy_rest"] == 1.0
    assert row["sparse_accuracy"] == pytest.approx(5 / 9)
    assert row["sparse_accuracy_rest"] == pytest.approx(5 / 6)


def reference_exemplars(dense, sparse):
    """Samples with different modes, in plain Python; a prediction of -1 does not count."""

    def mode(votes):
        counts = Counter(vote for vote in votes if vote >= 0)
        return min((-count, vote) for vote, count in counts.items())[1] if counts else None

    found = []
    for sample in range(len(dense[0])):
        first = mode([row[sample] for row in dense])
        second = mode([row[sample] for row in sparse])
        if first is not None and second is not None and first != second:
            found.append((sample, first, second))
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_exemplars_equal_a_reference(data):
    samples = data.draw(st.integers(1, 8))
    row = st.lists(st.integers(-1, 3), min_size=samples, max_size=samples)
    dense, sparse = (data.draw(st.lists(row, min_size=1, max_size=5)) for _ in range(2))
    modes = [modal_predictions(np.array(part).astype(np.uint16)) for part in (dense, sparse)]
    (first, share), (second, _) = modes
    differ = np.flatnonzero((first != second) & (first != ABSENT) & (second != ABSENT))
    assert [(s, first[s], second[s]) for s in differ] == reference_exemplars(dense, sparse)
    assert np.isnan(share).tolist() == (first == ABSENT).tolist()
    permuted = modal_predictions(np.array(dense[::-1]).astype(np.uint16))
    np.testing.assert_array_equal(permuted[0], first)
    np.testing.assert_array_equal(permuted[1], share)


# classes -------------------------------------------------------------------------------------------------------------


def test_class_accuracy_matches_a_worked_example(small):
    found = class_accuracy(*small).set_index(["sparsifier", "label"])
    assert found["mean"].to_dict() == pytest.approx(
        {
            ("dense", 0): 5 / 6,
            ("dense", 1): 4 / 6,
            ("dense", 2): 1 / 3,
            ("set", 0): 0.5,
            ("set", 1): 5 / 6,
            ("set", 2): 2 / 3,
        }
    )
    assert found.loc[("set", 0), "difference"] == pytest.approx((-0.5 - 0.5 + 0) / 3)
    assert found.loc[("set", 1), "n"] == 3


def test_worst_class_is_the_smallest_of_equal_ones(small):
    found = worst_class(*small).set_index(["sparsifier", "seed"])
    assert found["label"].to_dict() == {
        ("dense", 0): 1,
        ("dense", 1): 2,
        ("dense", 2): 2,
        ("set", 0): 0,
        ("set", 1): 0,
        ("set", 2): 1,
    }
    assert found.loc[("set", 1), "worst_accuracy"] == 0 and found.loc[("set", 1), "accuracy"] == 0.4


def test_class_that_a_trial_did_not_evaluate_has_no_accuracy(rows, frame):
    matrix = matrix_of({rows[0]["trial"]: [0, -1], rows[1]["trial"]: [0, 0]}, [0, 1])
    found = class_accuracy(matrix, frame(rows)).set_index("label")
    assert found["n"].to_dict() == {0: 2, 1: 1}
    assert list(worst_class(matrix, frame(rows))["accuracy"]) == [1.0, 0.5]


# agreement -----------------------------------------------------------------------------------------------------------


def test_agreement_matches_a_worked_example(small):
    found = agreement(*small).set_index(["sparsifier", "other_sparsifier"])
    assert found.loc[("dense", "set"), "n"] == 3
    assert found.loc[("dense", "set"), "churn"] == pytest.approx((2 / 5 + 2 / 5 + 2 / 5) / 3)
    assert found.loc[("dense", "dense"), "n"] == 3  # pairs of three seeds
    assert found.loc[("dense", "dense"), "churn"] == pytest.approx((2 / 5 + 2 / 5 + 3 / 5) / 3)
    pd.testing.assert_series_equal(
        found.loc[("dense", "set"), ["churn", "kappa"]].squeeze(),
        found.loc[("set", "dense"), ["churn", "kappa"]].squeeze(),
        check_names=False,
    )


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_kappa_equals_that_of_scikit_learn(pairs):
    first, second = (np.array(part, np.uint16) for part in zip(*pairs, strict=True))
    churn, kappa = churn_and_kappa(first, second)
    assert churn == pytest.approx(np.mean(first != second))
    if len({*first, *second}) == 1:
        assert math.isnan(kappa)
    else:
        assert kappa == pytest.approx(cohen_kappa_score(first, second))
    absent = np.array([ABSENT, 0, ABSENT], np.uint16)
    with_absent = churn_and_kappa(np.append(first, absent), np.append(second, absent[::-1] * 0 + ABSENT))
    assert with_absent == pytest.approx((churn, kappa), nan_ok=True)


def test_arms_of_different_sparsity_are_not_paired(frame):
    rows = make_sweep(("set", "snip"), (0.5, 0.9), (0.3,), seeds=1)
    found = agreement(make_outcomes(rows), frame(rows))
    sparse = found[(found["sparsifier"] != "dense") & (found["other_sparsifier"] != "dense")]
    assert (sparse["sparsity"] == sparse["other_sparsity"]).all()
    assert len(found) == 2 * (4 + 2)  # four sparse arms with dense, two pairs of sparse ones; both orders
    with pytest.raises(ValueError, match=r"^no two trials"):
        agreement(make_outcomes(rows[:1]), frame(rows))


# flips ---------------------------------------------------------------------------------------------------------------


def test_flips_match_a_worked_example(small):
    """Correct: dense 11101, 10100, 11110; SET 10111, 00110, 11101. Lost per seed: 1, 1, 1; gained: 1, 1, 1."""
    [row] = flips(*small).to_dict("records")
    assert (row["n"], row["lost"], row["gained"], row["lost_std"]) == pytest.approx((3, 0.2, 0.2, 0))
    # Between dense seeds: 0 to 1 loses 2, gains 0; 0 to 2 loses 1, gains 1; 1 to 2 loses 0, gains 2.
    assert row["floor"] == pytest.approx((2 + 0 + 1 + 1 + 0 + 2) / 6 / 5)
    assert row["lost_above_floor"] == pytest.approx(0)


def test_gained_minus_lost_is_the_difference_in_accuracy(frame):
    rows = make_sweep(seeds=3)
    found = flips(make_outcomes(rows), frame(rows))
    means = class_accuracy(make_outcomes(rows), frame(rows))  # ten classes of equal size
    keys = ["sparsifier", "sparsity", "data_ratio"]
    differences = means[means["sparsifier"] != "dense"].groupby(keys)["difference"].mean().reset_index()
    joined = found.merge(differences, on=keys)
    assert len(joined) == len(found) == 6 * 3 * 2
    np.testing.assert_allclose(joined["gained"] - joined["lost"], joined["difference"], atol=1e-12)


def test_one_dense_seed_gives_no_floor(small):
    matrix, trials = small
    [row] = flips(matrix, trials[trials["seed"] == 0]).to_dict("records")
    assert row["n"] == 1 and math.isnan(row["floor"]) and math.isnan(row["lost_above_floor"])


# All -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("analysis", ANALYSES)
def test_order_changes_nothing(frame, analysis):
    rows = make_sweep(("set", "snip"), (0.5, 0.9), (0.3,), seeds=2)
    matrix, trials = make_outcomes(rows), frame(rows)
    shuffled = trials.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(analysis(matrix, shuffled), analysis(matrix, trials))
    reordered = matrix.select(shuffled["trial"])
    pd.testing.assert_frame_equal(analysis(reordered, trials), analysis(matrix, trials))


@pytest.mark.parametrize("analysis", ANALYSES)
def test_comparisons_are_not_mixed(frame, analysis):
    rows = make_sweep(("set", "snip"), (0.5,), (0.3, 1.0), seeds=2)
    matrix, trials = make_outcomes(rows), frame(rows)
    chosen = trials[trials["data_ratio"] == 0.3]
    whole, alone = analysis(matrix, trials), analysis(matrix, chosen)
    own = whole["data_ratio"] == 0.3 if "data_ratio" in whole else whole["comparison"].isin(chosen["comparison"])
    pd.testing.assert_frame_equal(whole[own].reset_index(drop=True), alone)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_missing_trials_raise_with_the_reason(frame, analysis):
    rows = make_sweep(("set",), (0.5,), (0.3,), seeds=2)
    matrix, trials = make_outcomes(rows), frame(rows)
    with pytest.raises(ValueError, match=r"^no trial has per-sample outcomes"):
        analysis(matrix, trials.head(0))
    if analysis in (exemplars, exemplar_shares, flips):
        with pytest.raises(ValueError, match=r"^no dense trial has per-sample outcomes"):
            analysis(matrix, trials[trials["sparsifier"] != "dense"])
        with pytest.raises(ValueError, match=r"^no sparse trial with per-sample outcomes"):
            analysis(matrix, trials[trials["sparsifier"] == "dense"])
