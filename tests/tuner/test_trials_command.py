"""The trials of a sweep as a table: the best, the failed and the pending one are found by one command each."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import parse_sweep
from support.fake_results import write_results

Command = Callable[..., tuple[int, str, str]]

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits}}
grids:
  - {sparsifier: dense, seed: [0, 1]}
  - {sparsifier: [set, snip], sparsity: [0.5, 0.9], seed: 0}
"""


@pytest.fixture
def storage(tmp_path: Path) -> Store:
    """Six trials: four finished, one failed, one pending."""
    sweep = parse_sweep(SWEEP, "six")
    store = Store(str(tmp_path))
    write_results(store, sweep, leave_out=2)
    store.write_failure(list(sweep.trials)[4], "six", RuntimeError("no gradient\nat all"))
    return store


def listed(call: Command, store: Store, *arguments: str) -> list[list[str]]:
    code, out, err = call("trials", "six", "--storage", store.storage, *arguments)
    assert code == 0, err
    return [line.split() for line in out.splitlines()]


def test_best_failed_and_pending_are_found_by_one_command_each(storage: Store, call: Command) -> None:
    trials = list(parse_sweep(SWEEP, "six").trials.values())
    head, best, *rest = listed(call, storage, "--sort", "test_accuracy")
    assert head[:2] == ["trial", "state"]
    assert best[0] in {trial.id for trial in trials[2:4]}, "sparse networks gain in these results"
    assert [row[1] for row in [best, *rest]] == ["done"] * 4 + ["failed", "pending"]
    _, failed = listed(call, storage, "--where", "state == 'failed'")
    assert failed[0] == trials[4].id and " ".join(failed).endswith("RuntimeError: no gradient")
    _, pending = listed(call, storage, "--where", "state == 'pending'")
    assert pending[0] == trials[5].id


def test_conditions_on_what_has_not_run_yet_hold_too(storage: Store, call: Command) -> None:
    rows = json.loads(call("trials", "six", "--storage", storage.storage, "--json", "--where", "sparsity >= .8")[1])
    assert [(row["sparsifier"], row["state"]) for row in rows] == [("set", "done"), ("snip", "pending")]
    assert rows[1]["test_accuracy"] is None and rows[1]["steps"] == 1080


def test_what_is_asked_about_is_shown(storage: Store, call: Command) -> None:
    head, *_ = listed(call, storage, "--where", "batch_size == 32", "--sort", "nonzero_parameters")
    assert head[-3:-1] == ["batch_size", "nonzero_parameters"] or head[-2:] == ["batch_size", "nonzero_parameters"]


def test_smallest_first_leaves_what_is_missing_at_the_end(storage: Store, call: Command) -> None:
    _, *rows = listed(call, storage, "--sort", "test_accuracy", "--smallest-first")
    assert [row[2] for row in rows[:2]] == ["dense", "dense"]
    assert {row[1] for row in rows[-2:]} == {"failed", "pending"}


def test_csv_has_all_columns(storage: Store, call: Command) -> None:
    table = pd.read_csv(StringIO(call("trials", "six", "--storage", storage.storage, "--csv")[1]))
    assert len(table) == 6 and {"trial", "state", "comparison", "error"} <= set(table.columns)


def test_csv_holds_no_formula(storage: Store, call: Command) -> None:
    """An error's text is of whoever wrote the method."""
    trial = list(parse_sweep(SWEEP, "six").trials)[5]
    storage.write_failure(trial, "six", type("=HYPERLINK", (Exception,), {})("x"))
    table = pd.read_csv(StringIO(call("trials", "six", "--storage", storage.storage, "--csv")[1]))
    assert table.set_index("trial")["error"][trial] == "'=HYPERLINK: x"


def test_a_sweep_that_was_never_run_is_listed_whole(tmp_path: Path, call: Command) -> None:
    code, out, _ = call("trials", "smoke", "--storage", str(tmp_path / "none"))
    assert code == 0 and out.count("pending") == 12


def test_an_empty_choice_is_said(storage: Store, call: Command) -> None:
    assert listed(call, storage, "--where", "seed == 7") == [["no", "trials"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--where", "sparsity >> .8"), "--where: cannot be applied (got 'sparsity >> .8')"),
        (("--where", "sparsity >="), "--where: cannot be applied (got 'sparsity >=')"),
        (("--where", "@pd.read_csv('x')"), "--where: cannot be applied"),
        (("--sort", "accuracy"), "--sort: unknown column (got 'accuracy')"),
        (("--csv", "--json"), "--json, --csv: cannot be combined. Choose one."),
    ],
)
def test_wrong_calls_are_one_line(arguments: tuple[str, ...], said: str, storage: Store, call: Command) -> None:
    code, out, err = call("trials", "six", "--storage", storage.storage, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert said in err


def test_plan_lists_the_runs_to_do(storage: Store, call: Command, tmp_path: Path) -> None:
    path = tmp_path / "six.yaml"
    path.write_text(SWEEP)
    trials = list(parse_sweep(SWEEP, "six").trials)
    facts = json.loads(call("plan", str(path), "--list", "--json", "--storage", storage.storage)[1])
    assert [run["run"] for run in facts["runs"]] == trials[4:]
    out = call("plan", str(path), "--list", "--storage", storage.storage)[1]
    assert f"  {trials[5]}  snip 0.9 on digits/resnet8 none 1 seed 0" in out
