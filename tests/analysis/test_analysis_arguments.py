"""Arguments of the loaders: accepted forms, and wrong arguments that raise an error instead of an empty frame."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparsweep.analysis import describe, load_epochs, load_failures, load_layers, load_trials
from sparsweep.analysis.example_images import Ranking, load_samples
from sparsweep.analysis.results import load_results
from sparsweep.trainables.storage.store import Store
from support.synthetic_tables import make_row

LOADERS = (load_trials, load_epochs, load_layers, load_failures)
SPARSITIES = (0.0, 0.5, 0.8, 0.9)
WHEN = datetime(2024, 5, 6, tzinfo=UTC)
UNKNOWN_RANKING = Ranking('{"name": "digits"}', ("0123456789abcdef",))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Storage with one trial per sparsity in SPARSITIES. The seed is the index of the sparsity."""
    store = Store(str(tmp_path))
    for seed, sparsity in enumerate(SPARSITIES):
        row = make_row("set" if sparsity else "dense", sparsity, seed, 0.5, started_at=WHEN)
        store.write_result(row["trial"], {"trials": [row]})
    return tmp_path


def seeds(storage: Path, **arguments: Any) -> list[int]:
    return sorted(load_trials(storage, **arguments)["seed"])


@pytest.mark.parametrize("load", [*LOADERS, load_results, lambda storage: load_samples(storage, [UNKNOWN_RANKING])])
def test_storage_is_a_string_or_a_path(storage: Path, load: Any) -> None:
    assert type(load(storage)) is type(load(str(storage)))
    with pytest.raises(TypeError, match=r"^storage: not a path or a URI \(got 7\)"):
        load(7)


@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_storage_argument_raises(blank: str) -> None:
    with pytest.raises(ValueError, match="storage is empty"):
        load_trials(blank)


@pytest.mark.parametrize("form", [list, tuple, set, iter, np.array, pd.Series, dict.fromkeys])
def test_trials_argument_accepts_any_iterable(storage: Path, form: Any) -> None:
    ids = [make_row("set", sparsity, seed, 0.5)["trial"] for seed, sparsity in enumerate(SPARSITIES)][1:3]
    assert seeds(storage, trials=form(ids)) == [1, 2]
    assert sorted(load_results(storage, form(ids)).trials["seed"]) == [1, 2]


def test_single_trial_or_column_needs_no_list(storage: Path) -> None:
    one = load_trials(storage)["trial"].iloc[0]
    assert load_trials(storage, trials=one)["trial"].tolist() == [one]
    assert load_trials(storage, columns="sparsity").columns.tolist() == ["sparsity"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, [0, 1, 2, 3]),
        ([], [0, 1, 2, 3]),
        (("sparsity", "==", 0.5), [1]),
        ([("sparsity", "==", 0.5)], [1]),
        ([["sparsity", "==", 0.5]], [1]),
        ([("sparsity", ">", 0.0), ("seed", "<", 3)], [1, 2]),
        ([[("sparsity", "==", 0.5)], [("sparsity", "==", 0.8)]], [1, 2]),
        ([[("sparsity", "=", 0), ("seed", "==", 0)], [("sparsity", ">=", 0.9)]], [0, 3]),
        (("seed", "in", {1, 3}), [1, 3]),
        (("seed", "in", np.array([1, 3])), [1, 3]),
        (("seed", "not in", (1, 3)), [0, 2]),
        (("sparsity", "<", np.float32(0.6)), [0, 1]),
        (("sparsifier", "!=", "dense"), [1, 2, 3]),
        (("nesterov", "==", True), [0, 1, 2, 3]),
        (("started_at", ">=", pd.Timestamp("2024-05-06", tz="UTC")), [0, 1, 2, 3]),
        (("started_at", "<", WHEN), []),
    ],
)
def test_filters_follow_pandas(storage: Path, filters: Any, expected: list[int]) -> None:
    assert seeds(storage, filters=filters) == expected


def test_or_filters_apply_within_selected_trials(storage: Path) -> None:
    ids = [make_row("set", sparsity, seed, 0.5)["trial"] for seed, sparsity in enumerate(SPARSITIES)]
    either = [[("sparsity", "==", 0.5)], [("sparsity", "==", 0.8)]]
    assert seeds(storage, trials=ids[2:], filters=either) == [2]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"trials": "03b71fed"}, ValueError, "trials: not the id of a trial (got '03b71fed')"),
    ({"trials": ["03b71fed"]}, ValueError, "trials: not the id of a trial (got '03b71fed')"),
    ({"trials": [7]}, ValueError, "trials: not the id of a trial (got 7)"),
    ({"trials": 7}, TypeError, "trials: not ids (got 7)"),
    ({"columns": 7}, TypeError, "columns: not names (got 7)"),
    ({"columns": []}, ValueError, "columns: none, or one twice (got [])"),
    ({"columns": ["seed", "seed"]}, ValueError, "columns: none, or one twice (got ['seed', 'seed'])"),
    ({"columns": "acuracy"}, ValueError, "trials: unknown column 'acuracy'; choose from trial, sweep"),
    ({"filters": ("acuracy", ">", 0.5)}, ValueError, "trials: unknown column 'acuracy'; choose from trial, sweep"),
    ({"filters": ("sparsity", "==", "0.5")}, TypeError, "filters: sparsity: not a number (got '0.5'). Give a number."),
    ({"filters": ("sparsity", "in", [0.5, "0.8"])}, TypeError, "filters: sparsity: not a number (got '0.8')"),
    ({"filters": ("sparsity", "==", True)}, TypeError, "filters: sparsity: not a number (got True)"),
    ({"filters": ("seed", "==", 2**70)}, TypeError, "filters: seed: not a number"),
    ({"filters": ("sparsifier", "==", 1)}, TypeError, "filters: sparsifier: not a text (got 1)"),
    ({"filters": ("nesterov", "==", "true")}, TypeError, "filters: nesterov: not True or False (got 'true')"),
    ({"filters": ("started_at", ">", "2024")}, TypeError, "filters: started_at: not a time with a time zone"),
    ({"filters": ("started_at", ">", datetime(2024, 5, 6))}, TypeError, "filters: started_at: not a time with a time"),
    ({"filters": ("seed", "in", 1)}, TypeError, "filters: seed: 'in' needs a list (got 1)"),
    ({"filters": ("sparsifier", "in", "set")}, TypeError, "filters: sparsifier: 'in' needs a list (got 'set')"),
    ({"filters": ("seed", "like", 1)}, ValueError, "filters: seed: unknown operator (got 'like'). Choose from: =, =="),
    ({"filters": ("test_accuracy", "!=", None)}, ValueError, "filters: test_accuracy: no row equals a missing"),
    ({"filters": ("test_accuracy", "==", np.nan)}, ValueError, "filters: test_accuracy: no row equals a missing"),
    (
        {"filters": ("test_accuracy", "in", [pd.NA])},
        ValueError,
        "filters: test_accuracy: no row equals a missing",
    ),
    ({"filters": ("trial", "==", "03b71fed")}, ValueError, "filters: trial: not the id of a trial (got '03b71fed')"),
    ({"filters": ("trial", "in", ["03b71fed"])}, ValueError, "filters: trial: not the id of a trial (got '03b71fed')"),
    ({"filters": "sparsity == 0.5"}, TypeError, "filters: not a list (got 'sparsity == 0.5')"),
    ({"filters": [("sparsity", 0.5)]}, TypeError, "filters: not conditions (got ('sparsity', 0.5))"),
    ({"filters": [[]]}, TypeError, "filters: not conditions (got [])"),
    (
        {"filters": [[("seed", "==", 1)], ("seed", "==", 2)]},
        TypeError,
        "filters: not conditions (got ('seed', '==', 2)",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG, ids=lambda part: str(part)[:40])
def test_invalid_arguments_raise_a_one_line_error(
    storage: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}") as error_info:
        load_trials(storage, **arguments)
    assert "\n" not in str(error_info.value)


def test_unknown_table_error_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"^table: unknown \(got 'trial'\). Choose from: trials, epochs, layers"):
        describe("trial")
