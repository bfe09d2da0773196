"""A foreign or damaged file affects only itself: commands continue with the rest, and a resume creates it again."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sparsweep.analysis import load_trials
from sparsweep.trainables import plugins
from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.cli.session import open_sweep_as_run
from sparsweep.tuner.cli.status_view import render
from sparsweep.tuner.config.sweep import parse_sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning import status
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.planning.repair import remove_damaged_results
from sparsweep.tuner.search.study import OptunaStudy
from sparsweep.tuner.state import calibration, suggestions, sweep_record
from sparsweep.tuner.state.driver_lease import Lease, read_lease
from support.fake_results import write_results

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
grids: [{sparsifier: dense, seed: [0, 1]}, {sparsifier: snip, sparsity: 0.5, seed: [0, 1]}]
"""
Damage = Callable[[Path], object]


def edit_table(edit: Callable[[pa.Table], pa.Table]) -> Damage:
    return lambda path: pq.write_table(edit(pq.read_table(path)), path)


def with_value(name: str, value: Any, kind: pa.DataType | None = None) -> Damage:
    def edit(table: pa.Table) -> pa.Table:
        field = pa.field(name, kind or schemas.SCHEMAS["trials"].field(name).type)
        return table.set_column(table.column_names.index(name), field, pa.array([value] * len(table), field.type))

    return edit_table(edit)


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


INCOMPLETE: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "folder": replace_with_folder,
}
"""Damage by a crash or an interrupted copy: the file is incomplete."""
WRONG: dict[str, Damage] = {
    "twice": edit_table(lambda table: pa.concat_tables([table, table])),
    "no row": edit_table(lambda table: table.slice(0, 0)),
    "other trial": with_value("trial", "f" * 16),
    "no trial": with_value("trial", None),
    "no column": edit_table(lambda table: table.drop_columns(["trial"])),
    "text for a number": with_value("seconds", "fast", pa.string()),
    "text for a time": with_value("started_at", "today", pa.string()),
    "list": with_value("test_accuracy", [0.5], pa.list_(pa.float64())),
    "struct": with_value("seed", {"seed": 1}, pa.struct([("seed", pa.int64())])),
    "not UTF-8": with_value("dataset", b"\xff\xfe", pa.binary()),
    "no JSON": with_value("difficulty_parameters", "{"),
    "version": edit_table(lambda table: table.replace_schema_metadata({"sparsweep.tables": "new"})),
}
"""Complete files with content that cannot be read."""
VALUES: dict[str, Damage] = {
    **{f"seconds {value}": with_value("seconds", value) for value in (0.0, -1.0, None, math.nan, math.inf)},
    **{f"accuracy {value}": with_value("test_accuracy", value) for value in (None, math.nan, math.inf, -math.inf)},
    **{f"no {name}": with_value(name, None) for name in ("samples", "epochs", "model", "train_flops", "finished_at")},
    **{f"spec {text}": with_value("spec", text) for text in (None, "", "{", "[]", '{"kind": "Unknown", "spec": {}}')},
}
"""Readable rows with one wrong value."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "runs"))
    write_results(store, parse_sweep(SWEEP, "mine"))
    return store


@pytest.fixture
def trial(store: Store) -> str:
    return min(store.finished())


@pytest.fixture
def path(store: Store, trial: str) -> Path:
    return Path(store.root, store.result_path("trials", trial))


@pytest.fixture
def call(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run a command. Return its exit code, output and the lines of standard error."""
    (tmp_path / "mine.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments, "--storage", store.root])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        captured = capsys.readouterr()
        return exit_info.value.code or 0, captured.out, captured.err.splitlines()

    return run


@pytest.mark.parametrize("damage", [*INCOMPLETE, *WRONG])
def test_damaged_row_affects_only_its_trial(
    store: Store, trial: str, path: Path, call: Any, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    others = store.finished() - {trial}
    {**INCOMPLETE, **WRONG}[damage](path)
    assert set(load_trials(store.root)["trial"]) == others
    if damage != "folder":
        (record,) = caplog.records
        assert str(path) in record.getMessage()
    for command in (["plan", "mine.yaml"], ["gc"], ["claims", "mine"]):
        assert call(*command)[0] == 0
    code, out, _ = call("status")
    assert code == 0 and ("3 done, 1 pending" in out or damage in WRONG)
    for command in ("show", "export"):
        code, _, lines = call(command, trial)
        assert code == 2 and len(lines) == 1


@pytest.mark.parametrize("damage", VALUES)
def test_wrong_value_fails_no_command(path: Path, call: Any, trial: str, damage: str) -> None:
    VALUES[damage](path)
    for command in (["status"], ["plan", "mine.yaml"], ["gc"], ["claims", "mine"], ["show", trial]):
        code, _, lines = call(*command)
        assert (code, lines) == (0, [])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_value_that_is_not_finite_is_missing(store: Store, trial: str, path: Path, value: float) -> None:
    with_value("test_accuracy", value)(path)
    accuracies = load_trials(store.root).set_index("trial")["test_accuracy"]
    assert accuracies.isna().to_dict() == {other: other == trial for other in store.finished()}


@pytest.mark.parametrize("damage", [*INCOMPLETE, *WRONG, "spec None", "spec ", "spec {", "spec []"])
def test_resume_reruns_a_damaged_result(store: Store, trial: str, path: Path, damage: str) -> None:
    graph = build_graph(parse_sweep(SWEEP, "mine").trials)
    before = {name: Path(store.root, store.result_path("trials", name)).read_bytes() for name in store.finished()}
    {**INCOMPLETE, **WRONG, **VALUES}[damage](path)
    removed = remove_damaged_results(graph.runs, store)
    assert removed == ([] if damage == "folder" else [trial])  # a folder is not a result and is kept
    assert compute_state(graph, store).todo == {trial}
    del before[trial]
    assert before == {name: Path(store.root, store.result_path("trials", name)).read_bytes() for name in before}


@pytest.mark.parametrize("table", ["epochs", "layers"])
def test_truncated_table_of_a_trial_is_removed_with_its_row(store: Store, trial: str, table: str) -> None:
    table_path = Path(store.root, store.result_path(table, trial))
    table_path.write_bytes(table_path.read_bytes()[:-9])
    assert remove_damaged_results(parse_sweep(SWEEP, "mine").trials, store) == [trial]
    assert trial not in store.finished() and not table_path.exists()


@pytest.mark.parametrize("name", ["{} (conflicted copy)", "{}.sync-conflict-20240506", "Copy of {}", "{} 2", "{}-mine"])
def test_conflict_copy_is_ignored(
    store: Store, trial: str, path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    copy = path.with_name(name.format(trial) + ".parquet")
    shutil.copy(path, copy)
    assert len(load_trials(store.root)) == 4 and len(load_trials(store.root, trial)) == 1
    assert str(copy) in caplog.text
    assert remove_damaged_results(parse_sweep(SWEEP, "mine").trials, store) == [] and copy.exists()


PLUGIN_SWEEP = SWEEP.replace("resnet8", "theirnet")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            PLUGIN_SWEEP.encode(),
            "theirs: missing plug-ins of the last run. Add --plugin their_methods (theirs: grids.0: model:",
        ),
        (b"grids: [", "theirs: invalid YAML"),
        (b"\xff\x00", "theirs: sweeps/theirs/sweep.yaml is damaged"),
        (b"", "theirs: a sweep must be a mapping"),
    ],
)
def test_unreadable_sweep_is_reported_and_others_continue(store: Store, call: Any, content: bytes, reason: str) -> None:
    store.write("sweeps/theirs/sweep.yaml", content)
    if content == PLUGIN_SWEEP.encode():
        store.write("sweeps/theirs/plugins.json", b'["their_methods"]')
    store.write(f"artifacts/weights/{'0' * 16}.pt", b"may be theirs")
    code, out, lines = call("status")
    assert code == 0 and "mine: 4 trials: 4 done" in out and len(lines) == 1 and lines[0].startswith(reason)
    assert [entry["sweep"] for entry in json.loads(call("status", "--json")[1])] == ["mine"]
    code, _, lines = call("gc", "--yes")
    assert code == 0 and len(lines) == 1 and lines[0].startswith(reason)
    assert store.exists(f"artifacts/weights/{'0' * 16}.pt"), "an unreadable sweep may need this file"
    assert call("plan", "mine.yaml")[0] == 0
    with pytest.raises(UsageError, match=r"^theirs: "):
        open_sweep_as_run("theirs", [], store.root)


def test_sweep_records_its_plugins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_named", {"their_methods": None})
    sweep_record.save_sweep(parse_sweep(SWEEP, "mine"), store)
    assert json.loads(store.read("sweeps/mine/plugins.json") or b"") == ["their_methods"]
    monkeypatch.setattr(plugins, "_named", {})
    assert sweep_record.load_sweep("mine", store, []) is not None, "plug-ins are needed only for unknown names"


def test_rows_of_unknown_methods_are_ignored_by_plan_and_status(store: Store, path: Path, call: Any) -> None:
    spec = pq.read_table(path)["spec"][0].as_py()
    with_value("spec", spec.replace("resnet8", "theirnet"))(path)
    with_value("difficulty_parameters", "theirs")(path)
    assert call("plan", "mine.yaml")[0] == call("status")[0] == 0


def lease_content(**parts: Any) -> bytes:
    """Return the content of a lease with some fields replaced."""
    lease = Lease("mine", Store("nowhere"), print)._content
    content = {**json.loads(lease.to_json()), "seconds_left": 1.0}
    driver = {**content["driver"], **parts.pop("driver", {})}
    return json.dumps({**content, "driver": driver, **parts}).encode()


INVALID_LEASES = [
    b"[" * 100_000,
    lease_content(at="today"),
    lease_content(at=1e9),
    lease_content(beat=1.5),
    lease_content(beat=math.inf),
    *(lease_content(driver={"pid": pid}) for pid in ("1", None, -1, 2**70, 1.5)),
]
DAMAGED_LEASES = [
    *(lease_content(seconds_left=left) for left in ("soon", -1, [1], math.nan, math.inf, 1e300)),
    *(
        lease_content(running=runs)
        for runs in ("all", [1], {"0" * 16: None}, {"0" * 16: {"epoch": "one", "epochs": 2}})
    ),
    lease_content(running={"0" * 16: {"epoch": 1, "epochs": 2, "images_per_second": "fast", "test_accuracy": []}}),
]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b'{"at": 1}', b'{"at": "today", "driver": {}}'])
@pytest.mark.parametrize("name", ["sweeps/mine/driver.json", "sweeps/begun/driver.json", "calibration/x.json"])
def test_damaged_record_is_ignored(store: Store, call: Any, name: str, content: bytes) -> None:
    store.write(name, content)
    for command in (["status"], ["plan", "mine.yaml"], ["gc"]):
        code, _, lines = call(*command)
        assert (code, lines) == (0, [])


@pytest.mark.parametrize("content", INVALID_LEASES)
def test_invalid_lease_is_ignored(store: Store, call: Any, content: bytes) -> None:
    store.write("sweeps/mine/driver.json", content)
    assert read_lease("mine", store) is None
    assert call("status")[0] == call("gc")[0] == 0


@pytest.mark.parametrize("content", DAMAGED_LEASES)
def test_valid_fields_of_a_damaged_lease_are_shown(store: Store, call: Any, trial: str, content: bytes) -> None:
    store.write("sweeps/mine/driver.json", content.replace(b"0" * 16, trial.encode()))
    store.delete(store.result_path("trials", trial))
    code, out, lines = call("status", "mine")
    assert (code, lines) == (0, []) and "3 done" in out
    report = status.sweep_status(parse_sweep(SWEEP, "mine"), store)
    assert report["alive"] and report["running_now"] == []
    assert report["seconds_left"] in (None, 1.0)
    Console(file=io.StringIO()).print(render(report))


SEARCH = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 1}}
search:
  {trials: 4, sampler: random, objectives: {test_accuracy: maximize},
  space: {sparsifier: random, sparsity: {from: 0.1, to: 0.9}}}
"""


@pytest.fixture
def all_suggestions(store: Store) -> list[Any]:
    """Suggestions of a search that has drawn all of them."""
    sweep = parse_sweep(SEARCH, "sought")
    sweep_record.save_sweep(sweep, store)
    study = OptunaStudy(sweep, store)
    while study.ask() is not None:
        pass
    return list(suggestions.suggestions("sought", store))


SUGGESTIONS = [
    b"",
    b"{",
    b"{}",
    b"null",
    b"[" * 100_000,
    b'{"spec": 1, "params": {}, "ended": null}',
    b'{"spec": null, "params": {"sparsity": [1]}, "ended": null}',
    b'{"spec": null, "params": {}, "ended": "well"}',
    b'{"spec": null, "params": {}}',
]


@pytest.mark.parametrize("content", SUGGESTIONS)
def test_damaged_suggestion_is_logged_and_drawn_again(
    store: Store, call: Any, all_suggestions: list[Any], caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    suggestions.warn_once.cache_clear()
    path = "sweeps/sought/suggestions/000001.json"
    original = store.read(path)
    store.write(path, content)
    code, out, _ = call("status", "sought")
    assert code == 0 and "3 trials" in out
    (record,) = caplog.records
    assert "skipping damaged suggestion 000001" in record.getMessage()
    study = OptunaStudy(parse_sweep(SEARCH, "sought"), store)
    assert [spec.id for spec in study.pending] == [
        suggestion.spec.id for suggestion in all_suggestions if suggestion.number != 1
    ]
    while study.ask() is not None:
        pass
    assert store.read(path) == original
    assert list(suggestions.suggestions("sought", store)) == all_suggestions


def test_copy_of_a_suggestion_is_ignored(store: Store, call: Any, all_suggestions: list[Any]) -> None:
    content = store.read("sweeps/sought/suggestions/000001.json") or b""
    for name in ("000001 (1).json", "000001.sync-conflict-1.json", "notes.txt", "1.json"):
        store.write(f"sweeps/sought/suggestions/{name}", content)
    assert list(suggestions.suggestions("sought", store)) == all_suggestions
    assert call("status", "sought")[0] == 0


def test_suggestion_of_an_unknown_method_is_kept(store: Store, call: Any, all_suggestions: list[Any]) -> None:
    path = "sweeps/sought/suggestions/000001.json"
    content = (store.read(path) or b"").replace(b"resnet8", b"theirnet")
    store.write(path, content)
    code, out, _ = call("status", "sought")
    assert code == 0 and "3 trials" in out
    assert suggestions.numbers("sought", store) == set(range(4)), "the number of the suggestion stays reserved"


@pytest.mark.parametrize("value", ["0.5", True, 7.0, None])
def test_suggestion_outside_the_space_does_not_stop_the_search(
    store: Store, all_suggestions: list[Any], value: Any
) -> None:
    path = "sweeps/sought/suggestions/000001.json"
    content = json.loads(store.read(path) or b"")
    store.write(path, json.dumps({**content, "params": {"sparsity": value}}).encode())
    assert OptunaStudy(parse_sweep(SEARCH, "sought"), store).ask() is not None


def test_calibration_without_a_rate_is_ignored(store: Store) -> None:
    store.write("calibration/x.json", b'{"what": "rate"}')
    store.write("calibration/notes.txt", b"by hand")
    saved = {"what": "rate", "kind": {}, "card": "mine", "images_per_second": 2.0}
    calibration.save_measurement(saved, store)
    (measurement,) = calibration.read_measurements(store, "rate")
    assert measurement.items() >= saved.items()


@pytest.mark.parametrize("name", ["0123456789abcdef-1.parquet", "notes.txt", "0123456789abcdef-1 (copy).parquet"])
def test_damaged_failure_does_not_hide_others(store: Store, name: str) -> None:
    store.write_failure("0" * 16, "mine", OSError("full"))
    store.write(f"results/failures/{name}", b"not Parquet")
    assert store.failures().keys() == {"0" * 16}
