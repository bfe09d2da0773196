"""Hardness of samples, accuracy by hardness, and what is left of the easy samples."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sparsweep.analysis.outcomes.forgetting import AT_HAND, accuracy_by_third
from sparsweep.analysis.outcomes.hardness import accuracy_by_decile, dense_hardness, score_hardness
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from support.synthetic_outcomes import make_outcomes, matrix_of, table_of
from support.synthetic_tables import make_row, make_sweep


@pytest.fixture
def small(frame):
    """Three dense seeds and SET with two, four samples of the labels 0 and 1."""
    rows = [make_row("dense", 0.0, seed, 0.5) for seed in range(3)] + [make_row("set", 0.5, s, 0.5) for s in range(2)]
    dense0, dense1, dense2, set0, set1 = (row["trial"] for row in rows)
    predictions = {dense0: [0, 0, 1, 0], dense1: [0, 1, 1, 0], dense2: [0, 0, 1, 1]}
    predictions |= {set0: [0, 0, 1, 1], set1: [1, 1, 1, 1]}
    probabilities = {dense0: [1, 0.5, 0.25, 0], dense1: [0.5, 0.5, 0.75, 0.5], dense2: [1, 0.75, 0.5, 0.25]}
    return matrix_of(predictions, [0, 0, 1, 1], probabilities), frame(rows)


def test_hardness_for_a_seed_comes_from_the_other_dense_seeds(small):
    found = dense_hardness(*small)
    assert list(found.columns) == ["comparison", "seed", "sample", "hardness"]
    table = found.pivot(index="seed", columns="sample", values="hardness")
    np.testing.assert_allclose(table.loc[0], [0.25, 0.375, 0.375, 0.625])  # 1 minus the mean of seeds 1 and 2
    np.testing.assert_allclose(table.loc[1], [0.0, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(table.loc[2], [0.25, 0.5, 0.5, 0.75])


def test_accuracy_by_decile_matches_a_worked_example(small):
    """Two groups: samples 0 and 1 are easier than 2 and 3 for every seed; equal ones go by index."""
    found = accuracy_by_decile(*small, dense_hardness(*small), deciles=2).set_index(["sparsifier", "decile"])
    accuracy = found["mean"].to_dict()
    assert accuracy[("dense", 1)] == pytest.approx((1 + 0.5 + 1) / 3)
    assert accuracy[("dense", 2)] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert (accuracy[("set", 1)], accuracy[("set", 2)]) == (0.5, 1.0)
    easy, hard = found.loc[("set", 1)], found.loc[("set", 2)]
    assert (easy["n"], easy["pairs"], easy["difference"]) == (2, 2, -0.25)  # 1 - 1 and 0 - 0.5
    assert (easy["low"], easy["high"]) == pytest.approx((-0.25 - 12.7062 * 0.25, -0.25 + 12.7062 * 0.25), rel=1e-4)
    assert (hard["difference"], hard["low"], hard["high"]) == (0.5, 0.5, 0.5)  # twice 1 - 0.5


def test_own_dense_network_does_not_define_its_hardness(frame):
    """All networks guess. With their own hardness, the hardest half would look unlearned by dense alone."""
    generator = np.random.default_rng(1)
    rows = [make_row(*arm, seed, 0.5) for seed in range(4) for arm in (("dense", 0.0), ("set", 0.5))]
    labels = [0] * 2000
    predictions = {row["trial"]: generator.integers(0, 2, 2000).tolist() for row in rows}
    matrix, trials = matrix_of(predictions, labels), frame(rows)
    found = accuracy_by_decile(matrix, trials, dense_hardness(matrix, trials), 2)
    assert (found["mean"] - 0.5).abs().max() < 0.05


def test_deciles_differ_by_at_most_one_sample_and_follow_the_hardness(frame):
    rows = [make_row("dense", 0.0, 0, 0.5)]
    matrix = matrix_of({rows[0]["trial"]: [0] * 23 + [1] * 4}, [0] * 27)
    scores = score_hardness(pd.DataFrame({"sample": range(27), "score": np.arange(27.0)}))
    found = accuracy_by_decile(matrix, frame(rows), scores)
    sizes = [3, 3, 3, 2, 3, 3, 2, 3, 3, 2]
    wrong = np.arange(27) >= 23
    expected = [1 - part.mean() for part in np.split(wrong, np.cumsum(sizes)[:-1])]
    np.testing.assert_allclose(found["mean"], expected)
    assert list(found["decile"]) == list(range(1, 11))


def test_training_samples_of_a_trial_alone_are_ranked(frame):
    """Samples 0 to 3 are the trial's own; those with the scores 1 and 2 are the easier half."""
    row = make_row("dense", 0.0, 0, 0.5)
    other = make_row("dense", 0.0, 0, 0.5, data_ratio=0.5)
    matrix = matrix_of({row["trial"]: [0, 0, 1, 1, -1, -1], other["trial"]: [0, 0, 0, 0, 0, 0]}, [0] * 6)
    scores = score_hardness(pd.DataFrame({"sample": range(6), "score": [1.0, 4, 2, 3, 0, 9]}))
    found = accuracy_by_decile(matrix, frame([row, other]), scores, 2).query("data_ratio == 0.3")
    assert list(found["mean"]) == [0.5, 0.5]


def test_samples_that_no_other_seed_evaluated_have_no_hardness(frame):
    rows = [make_row("dense", 0.0, seed, 0.5) for seed in range(2)]
    matrix = matrix_of({rows[0]["trial"]: [0, 0, -1], rows[1]["trial"]: [-1, 0, 0]}, [0, 0, 0])
    found = dense_hardness(matrix, frame(rows))
    assert found.groupby("seed")["sample"].apply(list).to_dict() == {0: [1, 2], 1: [0, 1]}


def test_scores_of_several_runs_are_averaged():
    scores = pd.DataFrame({"name": "el2n", "sample": [4, 1, 4, 2], "score": [1.0, 5.0, 2.0, math.nan]})
    assert score_hardness(scores).to_dict("list") == {"sample": [1, 4], "hardness": [5.0, 1.5]}
    with pytest.raises(ValueError, match=r"one score at a time \(got el2n, grand\)"):
        score_hardness(pd.concat([scores, scores.assign(name="grand")]))
    with pytest.raises(ValueError, match=r"^no finite score"):
        score_hardness(scores.head(0))


def test_comparisons_have_their_own_hardness(frame):
    rows = make_sweep(("set",), (0.5,), (0.3, 1.0), seeds=2)
    matrix, trials = make_outcomes(rows), frame(rows)
    whole = dense_hardness(matrix, trials)
    for ratio, part in trials.groupby("data_ratio"):
        alone = dense_hardness(matrix, part)
        chosen = whole[whole["comparison"] == part["comparison"].iloc[0]].reset_index(drop=True)
        pd.testing.assert_frame_equal(chosen, alone, check_categorical=False)
        both = accuracy_by_decile(matrix, trials, whole)
        both = both[both["data_ratio"] == ratio].reset_index(drop=True)
        pd.testing.assert_frame_equal(both, accuracy_by_decile(matrix, part, alone))


def test_order_of_trials_and_numbers_of_samples_change_nothing(frame):
    rows = make_sweep(("set",), (0.5,), (0.3,), seeds=3)
    matrix, trials = make_outcomes(rows), frame(rows)
    expected = accuracy_by_decile(matrix, trials, dense_hardness(matrix, trials))
    tables = [
        table_of(trial, 2 * matrix.samples + 1, matrix.labels, matrix.predictions[row], matrix.label_probabilities[row])
        for row, trial in enumerate(matrix.trials)
    ]
    spread, shuffled = OutcomeMatrix.from_tables(tables[::-1]), trials.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(accuracy_by_decile(spread, shuffled, dense_hardness(spread, shuffled)), expected)


def test_missing_dense_and_single_seeds_raise_with_the_fix(frame):
    rows = make_sweep(("set",), (0.5,), (0.3,), seeds=2)
    matrix, trials = make_outcomes(rows), frame(rows)
    for analysis in (dense_hardness, accuracy_by_third):
        with pytest.raises(ValueError, match=r"^no dense trial has per-sample outcomes: add dense"):
            analysis(matrix, trials[trials["sparsifier"] != "dense"])
        with pytest.raises(ValueError, match=r"^no .*two .*seed"):
            analysis(matrix, trials[trials["seed"] == 0])
        with pytest.raises(ValueError, match=r"^no trial has per-sample outcomes"):
            analysis(matrix, trials.head(0))
    with pytest.raises(ValueError, match=r"^500 groups of hardness need as many samples \(got 120\)"):
        accuracy_by_decile(matrix, trials, dense_hardness(matrix, trials), 500)
    with pytest.raises(ValueError, match=r"^no trial with per-sample outcomes has a hardness"):
        accuracy_by_decile(matrix, trials, dense_hardness(matrix, trials).assign(comparison="another"))


# forgetting ----------------------------------------------------------------------------------------------------------


def thirds(frame, rows, probabilities):
    """Accuracies by third. Sample k has probability ``probabilities[k]`` for every dense trial on all data."""
    predictions = {row["trial"]: [0, 0, 0, 1, 0, 1] if row["sparsifier"] == "set" else [0] * 6 for row in rows}
    known = {row["trial"]: probabilities if row["data_ratio"] == 1 else probabilities[::-1] for row in rows}
    return accuracy_by_third(matrix_of(predictions, [0] * 6, known), frame(rows))


def test_thirds_are_those_of_dense_networks_on_all_data(frame):
    rows = [make_row("dense", 0.0, seed, 0.5, data_ratio=ratio) for seed in range(2) for ratio in (0.3, 1.0)]
    rows += [make_row("set", 0.5, seed, 0.5) for seed in range(2)]
    found = thirds(frame, rows, [0.9, 0.5, 0.8, 0.1, 0.4, 0.2])
    accuracy = found[found["sparsifier"] == "set"].set_index("third")["mean"]
    assert accuracy.to_dict() == {"easiest": 1.0, "middle": 1.0, "hardest": 0.0}
    assert list(accuracy.index) == ["easiest", "middle", "hardest"]
    assert set(found["reference"]) == {"all data"}


def test_random_subset_is_the_reference_without_all_data(frame):
    rows = [make_row("dense", 0.0, seed, 0.5, difficulty=name) for seed in range(2) for name in ("el2n", "none")]
    assert set(thirds(frame, rows, [0.5] * 6)["reference"]) == {"random subset, data ratio 0.3"}


def test_all_dense_trials_are_the_reference_without_an_ordinary_set(frame):
    rows = [make_row("dense", 0.0, seed, 0.5, data_ratio=ratio) for seed in range(2) for ratio in (0.3, 0.5)]
    assert set(thirds(frame, rows, [0.5] * 6)["reference"]) == {AT_HAND}


def test_networks_and_data_sets_have_their_own_reference(frame):
    rows = [make_row("dense", 0.0, seed, 0.5, data_ratio=1.0) for seed in range(2)]
    rows += [make_row("dense", 0.0, seed, 0.5, model="vgg") for seed in range(2)]
    found = thirds(frame, rows, [0.5] * 6).drop_duplicates("model").set_index("model")
    assert found["reference"].to_dict() == {"resnet18": "all data", "vgg": AT_HAND}
