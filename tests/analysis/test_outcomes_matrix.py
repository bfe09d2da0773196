"""The matrix of outcomes: built from tables in any order, and which of its trials are compared."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.analysis.groups import paired_differences
from sparsweep.analysis.outcomes.matrix import ABSENT, OutcomeMatrix
from sparsweep.analysis.outcomes.pairing import compared_trials, summarise_groups
from support.synthetic_outcomes import make_outcomes, matrix_of, table_of
from support.synthetic_tables import make_row, make_sweep


def same(first: OutcomeMatrix, second: OutcomeMatrix) -> bool:
    arrays = ("samples", "labels", "predictions", "label_probabilities")
    equal = [np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True) for name in arrays]
    return first.trials == second.trials and all(equal)


def test_matrix_has_trials_and_samples_in_order():
    matrix = OutcomeMatrix.from_tables([table_of("b", [7, 3], [1, 0], [1, 1]), table_of("a", [3, 5], [0, 2], [0, 2])])
    assert matrix.trials == ("a", "b")
    assert matrix.samples.tolist() == [3, 5, 7] and matrix.samples.dtype == np.int32
    assert matrix.labels.tolist() == [0, 2, 1] and matrix.labels.dtype == np.uint16
    assert matrix.predictions.tolist() == [[0, 2, ABSENT], [1, ABSENT, 1]]
    assert matrix.evaluated.tolist() == [[True, True, False], [True, False, True]]
    assert matrix.correct.tolist() == [[True, True, False], [False, False, True]]
    assert matrix.label_probabilities.dtype == np.float16
    assert np.isnan(matrix.label_probabilities).tolist() == [[False, False, True], [False, True, False]]


def test_matrix_does_not_depend_on_how_rows_are_divided():
    whole = pa.concat_tables([table_of("a", [0, 1, 2], [0, 1, 0], [0, 0, 0]), table_of("b", [2, 1], [0, 1], [1, 1])])
    reversed_rows = whole.take(list(range(len(whole)))[::-1])
    expected = OutcomeMatrix.from_tables([whole])
    for tables in (
        [whole.slice(at, 1) for at in range(len(whole))],
        [reversed_rows.slice(0, 2), reversed_rows.slice(2)],
        [whole.set_column(0, "trial", whole["trial"].cast(pa.string()))],
        [whole.slice(0, 0), whole],
    ):
        assert same(OutcomeMatrix.from_tables(tables), expected)


def test_no_tables_give_an_empty_matrix():
    matrix = OutcomeMatrix.from_tables([])
    assert (matrix.trials, len(matrix.samples), matrix.predictions.shape) == ((), 0, (0, 0))


def test_different_labels_of_a_sample_raise_one_line_with_both_trials():
    tables = [table_of("a", [0, 4], [0, 1], [0, 0]), table_of("b", [4], [2], [0])]
    with pytest.raises(
        ValueError, match=r"^outcomes: trials a and b give sample 4 the labels 1 and 2\. Choose [^\n]+$"
    ):
        OutcomeMatrix.from_tables(tables)


def test_selected_trials_keep_all_samples():
    matrix = matrix_of({"a": [0, 1, -1], "b": [1, 1, -1], "c": [0, 0, 0]}, [0, 1, 0])
    chosen = matrix.select(["c", "unknown", "a"])
    assert chosen.trials == ("c", "a")
    assert chosen.samples.tolist() == [0, 1, 2]
    assert chosen.predictions.tolist() == [[0, 0, 0], [0, 1, ABSENT]]
    assert matrix.select([]).predictions.shape == (0, 3)


def test_memory_is_that_of_the_matrix_and_of_one_table():
    trials, samples = 200, 10_000
    label = np.zeros(samples, np.uint16)

    def tables():
        for number in range(trials):
            columns = {"sample": np.arange(samples, dtype=np.int32), "label": label, "prediction": label}
            yield pa.table({"trial": [f"{number:04}"] * samples, **columns, "label_probability": np.ones(samples)})

    tracemalloc.start()
    matrix = OutcomeMatrix.from_tables(tables())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = matrix.predictions.nbytes + matrix.label_probabilities.nbytes
    assert size == 4 * trials * samples
    assert peak < 1.9 * size  # the predictions are copied row by row, and each row is freed


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_order_of_rows_changes_nothing(data):
    labels = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    trials = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    rows = [(trial, sample) for trial in trials for sample in range(len(labels))]
    chosen = data.draw(st.lists(st.sampled_from(rows), min_size=1, unique=True))
    shuffled = data.draw(st.permutations(chosen))

    def build(rows):
        return OutcomeMatrix.from_tables(table_of(t, [s], [labels[s]], [(s + len(t)) % 3], [s / 8]) for t, s in rows)

    assert same(build(chosen), build(shuffled))


# Trials that are compared --------------------------------------------------------------------------------------------


def test_trials_without_outcomes_are_left_out(frame):
    rows = make_sweep(("set",), (0.5,), (0.3,), seeds=2)
    matrix = make_outcomes(rows[:-1])
    compared = compared_trials(matrix, frame(rows))
    assert set(compared["trial"]) == {row["trial"] for row in rows[:-1]}
    assert [matrix.trials[row] for row in compared["row"]] == list(compared["trial"])


def test_partners_are_dense_trials_of_the_same_seed_and_comparison(frame):
    rows = make_sweep(("set", "snip"), (0.5,), (0.3, 1.0), seeds=2)
    rows = [r for r in rows if (r["sparsifier"], r["seed"], r["data_ratio"]) != ("dense", 1, 0.3)]
    compared = compared_trials(make_outcomes(rows), frame(rows))
    for row in compared.to_dict("records"):
        if row["sparsifier"] == "dense" or (row["seed"], row["data_ratio"]) == (1, 0.3):
            assert row["partner"] == -1
        else:
            partner = compared.loc[row["partner"]]
            assert partner["sparsifier"] == "dense"
            assert (partner["seed"], partner["data_ratio"]) == (row["seed"], row["data_ratio"])


def test_trials_that_differ_in_how_often_they_are_evaluated_are_of_one_comparison(frame):
    dense, sparse = make_row("dense", 0.0, 0, 0.5), make_row("set", 0.5, 0, 0.6, evaluation_every=5)
    assert dense["comparison"] != sparse["comparison"]
    compared = compared_trials(make_outcomes([dense, sparse]), frame([dense, sparse]))
    assert compared["comparison"].nunique() == compared["group"].nunique() == 1
    assert sorted(compared["partner"]) != [-1, -1]


def test_no_outcomes_raise_with_the_fix(frame):
    rows = make_sweep(seeds=1)
    for matrix in (make_outcomes([]), OutcomeMatrix.from_tables([])):
        with pytest.raises(ValueError, match=r"^no trial has per-sample outcomes: add .*outcomes: \[test\]"):
            compared_trials(matrix, frame(rows))


def test_means_and_differences_match_a_worked_example(frame):
    """Differences of SET to dense: 0.1, 0.2 and 0.3. Their interval: 0.2 -+ 4.3027 * 0.1 / sqrt(3)."""
    rows = [make_row(*arm, seed, 0.5) for seed in range(3) for arm in (("dense", 0.0), ("set", 0.5))]
    compared = compared_trials(make_outcomes(rows), frame(rows))
    gains = np.where(compared["sparsifier"] == "dense", 0.0, 0.1 * (compared["seed"] + 1))
    values = np.stack([0.5 + gains, np.where(compared["seed"] == 0, 0.25, np.nan)], axis=1)
    found = summarise_groups(compared, values, "part", ["first", "second"]).set_index(["sparsifier", "part"])
    first = found.loc[("set", "first")]
    assert (first["n"], first["pairs"]) == (3, 3)
    assert (first["mean"], first["std"], first["difference"]) == pytest.approx((0.7, 0.1, 0.2))
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert (first["interval"], first["low"], first["high"]) == pytest.approx((half, 0.2 - half, 0.2 + half), rel=1e-4)
    second = found.loc[("set", "second")]
    assert (second["n"], second["pairs"], second["difference"]) == (1, 1, 0)
    assert math.isnan(second["std"]) and math.isnan(second["low"])
    assert found.loc[("dense", "first"), "pairs"] == 0 and math.isnan(found.loc[("dense", "first"), "difference"])


def test_differences_equal_those_of_the_other_figures(frame):
    rows = make_sweep(seeds=3)
    trials = frame(rows)
    compared = compared_trials(make_outcomes(rows), trials)
    found = summarise_groups(compared, compared[["test_accuracy"]].to_numpy(), "all", [0])
    found = found[found["sparsifier"] != "dense"].reset_index(drop=True)
    expected = paired_differences(trials)
    pd.testing.assert_frame_equal(
        found[["sparsifier", "sparsity", "data_ratio", "pairs", "difference", "low", "high"]],
        expected[["sparsifier", "sparsity", "data_ratio", "n", "mean", "low", "high"]].set_axis(
            ["sparsifier", "sparsity", "data_ratio", "pairs", "difference", "low", "high"], axis=1
        ),
        check_dtype=False,
    )
