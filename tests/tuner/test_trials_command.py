"""``sparsweep trials``: one command finds the best, the failed or the pending trials."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.state import sweep_record
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


def list_rows(call: Command, store: Store, *arguments: str) -> list[list[str]]:
    code, out, err = call("trials", "six", "--storage", store.storage, *arguments)
    assert code == 0, err
    return [line.split() for line in out.splitlines()]


def test_best_failed_and_pending_trials_are_found(storage: Store, call: Command) -> None:
    trials = list(parse_sweep(SWEEP, "six").trials.values())
    header, best, *others = list_rows(call, storage, "--sort", "test_accuracy")
    assert header[:2] == ["trial", "state"]
    assert best[0] in {trial.id for trial in trials[2:4]}, "sparse networks have the best accuracy in the fake results"
    assert [row[1] for row in [best, *others]] == ["done"] * 4 + ["failed", "pending"]
    _, failed = list_rows(call, storage, "--where", "state == 'failed'")
    assert failed[0] == trials[4].id and " ".join(failed).endswith("RuntimeError: no gradient")
    _, pending = list_rows(call, storage, "--where", "state == 'pending'")
    assert pending[0] == trials[5].id


def test_conditions_apply_to_pending_trials(storage: Store, call: Command) -> None:
    rows = json.loads(call("trials", "six", "--storage", storage.storage, "--json", "--where", "sparsity >= .8")[1])
    assert [(row["sparsifier"], row["state"]) for row in rows] == [("set", "done"), ("snip", "pending")]
    assert rows[1]["test_accuracy"] is None and rows[1]["steps"] == 1080


def test_columns_of_conditions_and_sorting_are_shown(storage: Store, call: Command) -> None:
    header, *_ = list_rows(call, storage, "--where", "batch_size == 32", "--sort", "nonzero_parameters")
    assert header[-3:-1] == ["batch_size", "nonzero_parameters"] or header[-2:] == ["batch_size", "nonzero_parameters"]


def test_smallest_first_sorts_missing_values_last(storage: Store, call: Command) -> None:
    _, *rows = list_rows(call, storage, "--sort", "test_accuracy", "--smallest-first")
    assert [row[2] for row in rows[:2]] == ["dense", "dense"]
    assert {row[1] for row in rows[-2:]} == {"failed", "pending"}


def test_csv_has_all_columns(storage: Store, call: Command) -> None:
    table = pd.read_csv(StringIO(call("trials", "six", "--storage", storage.storage, "--csv")[1]))
    assert len(table) == 6 and {"trial", "state", "comparison", "error"} <= set(table.columns)


def test_csv_contains_no_formula(storage: Store, call: Command) -> None:
    """The text of an error comes from the code of a method, so it is untrusted."""
    trial = list(parse_sweep(SWEEP, "six").trials)[5]
    storage.write_failure(trial, "six", type("=HYPERLINK", (Exception,), {})("x"))
    table = pd.read_csv(StringIO(call("trials", "six", "--storage", storage.storage, "--csv")[1]))
    assert table.set_index("trial")["error"][trial] == "'=HYPERLINK: x"


def test_sweep_never_run_is_listed_as_pending(tmp_path: Path, call: Command) -> None:
    code, out, _ = call("trials", "smoke", "--storage", str(tmp_path / "none"))
    assert code == 0 and out.count("pending") == 12


def test_empty_selection_prints_no_trials(storage: Store, call: Command) -> None:
    assert list_rows(call, storage, "--where", "seed == 7") == [["no", "trials"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--where", "sparsity >> .8"), "--where: cannot be applied (got 'sparsity >> .8')"),
        (("--where", "sparsity >="), "--where: cannot be applied (got 'sparsity >=')"),
        (("--where", "@pd.read_csv('x')"), "--where: cannot be applied"),
        (("--sort", "accuracy"), "--sort: unknown column (got 'accuracy')"),
        (("--csv", "--json"), "--json, --csv: cannot be combined. Choose one."),
    ],
)
def test_invalid_calls_print_one_line(arguments: tuple[str, ...], message: str, storage: Store, call: Command) -> None:
    code, out, err = call("trials", "six", "--storage", storage.storage, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert message in err


def test_plan_lists_the_runs_to_do(storage: Store, call: Command, tmp_path: Path) -> None:
    path = tmp_path / "six.yaml"
    path.write_text(SWEEP)
    trials = list(parse_sweep(SWEEP, "six").trials)
    facts = json.loads(call("plan", str(path), "--list", "--json", "--storage", storage.storage)[1])
    assert [run["run"] for run in facts["runs"]] == trials[4:]
    out = call("plan", str(path), "--list", "--storage", storage.storage)[1]
    assert f"  {trials[5]}  snip 0.9 on digits/resnet8 none 1 seed 0" in out


@pytest.mark.parametrize("command", ["status", "status six", "trials six", "report six"])
def test_command_lists_the_storage_once(
    command: str, storage: Store, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of sweeps does not matter. Listing ten thousand files in a bucket takes seconds."""
    for name in ("six", "more"):
        sweep_record.save_sweep(parse_sweep(SWEEP, name), storage)
    counts: Counter[str] = Counter()
    finished, failures = Store.finished, tables.newest_failures

    def count(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: counts.update([name]) or function(*arguments)

    monkeypatch.setattr(Store, "finished", count("finished", finished))
    monkeypatch.setattr(tables, "newest_failures", count("failures", failures))
    code, _, err = call(*command.split(), "--storage", storage.storage)
    assert code == 0, err
    assert max(counts.values()) == 1, counts
