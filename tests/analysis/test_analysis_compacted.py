"""The compacted copy of a table changes the reading time only, never the rows."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sparsweep.analysis import snapshot
from sparsweep.trainables.storage import mark, schemas, tables
from sparsweep.trainables.storage.store import Store
from support.synthetic_tables import make_row

COUNT = snapshot.REWRITE_AFTER


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Store with COUNT finished trials, one per seed."""
    store = Store(str(tmp_path))
    store.mark()
    for seed in range(COUNT):
        finish(store, seed)
    return store


def finish(store: Store, seed: int, accuracy: float = 0.5) -> Path:
    row = make_row("set", 0.5, seed, accuracy)
    store.write_result(row["trial"], {"trials": [row]})
    return Path(store.root, store.result_path("trials", row["trial"]))


def copy(store: Store) -> Path:
    return Path(store.root, "compacted", "trials.parquet")


def seeds(store: Store, **options: object) -> list[int]:
    return sorted(snapshot.read(store.storage, "trials", **options)[0]["seed"].to_pylist())  # type: ignore[arg-type]


def record_opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    read = tables._read_file
    monkeypatch.setattr(
        tables, "_read_file", lambda filesystem, path, *rest: (opened.append(path), read(filesystem, path, *rest))[1]
    )
    return opened


def test_second_read_opens_only_the_copy(store, monkeypatch):
    first, _ = snapshot.read(store.storage, "trials")
    opened = record_opened_files(monkeypatch)
    second, damaged = snapshot.read(store.storage, "trials")
    assert (opened, damaged) == ([], [])
    assert second.schema.equals(schemas.SCHEMAS["trials"], check_metadata=True)
    assert sorted(second.to_pylist(), key=str) == sorted(first.to_pylist(), key=str)
    plain, _ = tables.read_table(store.storage, "trials")
    assert sorted(second.to_pylist(), key=str) == sorted(plain.to_pylist(), key=str)


def test_few_new_trials_are_read_separately_and_many_are_added_to_the_copy(store, monkeypatch):
    assert seeds(store) == list(range(COUNT))
    before = copy(store).read_bytes()
    finish(store, COUNT)
    opened = record_opened_files(monkeypatch)
    assert seeds(store) == list(range(COUNT + 1))
    assert len(opened) == 1 and copy(store).read_bytes() == before
    for seed in range(COUNT + 1, 2 * COUNT):
        finish(store, seed)
    assert seeds(store) == list(range(2 * COUNT))
    opened.clear()
    assert seeds(store) == list(range(2 * COUNT)) and opened == []


def test_trials_columns_and_filters_apply_to_the_copy(store):
    seeds(store)
    ids = [make_row("set", 0.5, seed, 0.5)["trial"] for seed in (3, 9)]
    assert seeds(store, trials=ids) == [3, 9]
    rows, _ = snapshot.read(store.storage, "trials", columns=["seed"], filters=[[("seed", "<", 2)]])
    assert rows.column_names == ["seed"] and sorted(rows["seed"].to_pylist()) == [0, 1]


def test_unmarked_folder_gets_no_copy(store):
    Path(store.root, mark.NAME).unlink()
    copy(store).parent.mkdir()
    copy(store).write_bytes(b"theirs")
    assert seeds(store) == list(range(COUNT))
    assert copy(store).read_bytes() == b"theirs"


def test_few_trials_are_not_compacted(tmp_path):
    store = Store(str(tmp_path))
    finish(store, 0)
    assert seeds(store) == [0] and not copy(store).exists()


def test_removed_or_rewritten_trial_rebuilds_the_copy(store):
    seeds(store)
    os.remove(finish(store, 5))
    assert 5 not in seeds(store)
    os.remove(finish(store, 7))
    finish(store, 7, accuracy=0.9)
    rows, _ = snapshot.read(store.storage, "trials", filters=[[("seed", "==", 7)]])
    assert rows["test_accuracy"].to_pylist() == [0.9]


@pytest.mark.parametrize("damage", [lambda content: content[:-30], lambda content: b"", lambda content: b"PAR1" * 9])
def test_damaged_copy_is_rebuilt(store, damage):
    seeds(store)
    copy(store).write_bytes(damage(copy(store).read_bytes()))
    assert seeds(store) == list(range(COUNT))
    assert len(pq.read_table(copy(store))) == COUNT


def test_copy_with_other_columns_is_rebuilt(store):
    seeds(store)
    old = pq.read_table(copy(store))
    pq.write_table(old.drop_columns(["rotation"]), copy(store))
    rows, _ = snapshot.read(store.storage, "trials")
    assert rows.schema.equals(schemas.SCHEMAS["trials"]) and len(rows) == COUNT


def test_damaged_file_is_reported_on_every_read(store):
    damaged_path = finish(store, 3)
    damaged_path.write_bytes(damaged_path.read_bytes()[:-20])
    for _ in range(3):
        rows, damaged = snapshot.read(store.storage, "trials")
        assert len(rows) == COUNT - 1 and damaged == [str(damaged_path)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write to read-only folders")
def test_read_only_storage_is_read_without_a_copy(store):
    os.chmod(store.root, stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert seeds(store) == list(range(COUNT))
    finally:
        os.chmod(store.root, stat.S_IRWXU)


def test_failed_write_of_the_copy_is_ignored(store, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", refuse)
    assert seeds(store) == list(range(COUNT))
    assert not copy(store).exists()


def test_no_temporary_file_remains(store):
    seeds(store)
    assert [path.name for path in copy(store).parent.iterdir()] == ["trials.parquet"]


# compact -------------------------------------------------------------------------------------------------------------


def test_compact_writes_all_readable_trials(tmp_path, caplog):
    store = Store(str(tmp_path))
    for seed in range(3):
        finish(store, seed)
    damaged_path = finish(store, 3)
    damaged_path.write_bytes(damaged_path.read_bytes()[:-20])
    assert snapshot.compact(store.storage, "trials") == (3, 3)
    assert f"to create it again: {damaged_path}" in caplog.text
    assert snapshot.compact(store.storage, "failures") == (0, 0)
    assert sorted(pd.read_parquet(copy(store))["seed"]) == [0, 1, 2]
    files = {path.stem for path in Path(store.root, "results/trials").iterdir()}
    assert len(files) == 4 and store.finished() == files - {damaged_path.stem}


def test_compact_raises_if_the_copy_cannot_be_written(store, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", refuse)
    with pytest.raises(OSError, match="no space left"):
        snapshot.compact(store.storage, "trials")


READER = """
import sys, pandas as pd
from sparsweep.analysis import load_trials
storage, count = sys.argv[1], int(sys.argv[2])
print("tables", flush=True)
for _ in range(12):
    for frame in (pd.read_parquet(f"{storage}/results/trials"), load_trials(storage)):
        assert sorted(frame["seed"]) == list(range(len(frame))) and len(frame) >= count, len(frame)
"""


def test_concurrent_readers_get_each_row_once(store):
    """Another process reads the folder with pandas and with load_trials, and gets each row exactly once."""
    snapshot.compact(store.storage, "trials")
    command = [sys.executable, "-c", READER, store.root, str(COUNT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "tables\n"
        seed = COUNT
        while reader.poll() is None:  # further trials finish, one at a time
            finish(store, seed)
            snapshot.compact(store.storage, "trials")
            seed += 1
        assert reader.returncode == 0, reader.stderr.read()
    assert seed > COUNT
