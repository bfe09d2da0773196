"""Result tables: declared columns, reading of many files, and damaged files that lose only their own rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.schemas import SCHEMAS, TABLES_VERSION, build_table
from sparsweep.trainables.storage.store import Store

FIRST, SECOND, THIRD = "a" * 16, "b" * 16, "c" * 16


def value(field: pa.Field) -> Any:
    """Return an example value for a column."""
    if field.name in tables.JSON_COLUMNS:
        return "{}"
    if pa.types.is_timestamp(field.type):
        return datetime(2024, 1, 2, tzinfo=UTC)
    if pa.types.is_integer(field.type):
        return 1
    return 0.5 if pa.types.is_floating(field.type) else {pa.string(): "text", pa.bool_(): True}[field.type]


def row(table: str, trial: str, **changes: Any) -> dict[str, Any]:
    return {**{field.name: value(field) for field in SCHEMAS[table]}, "trial": trial, **changes}


def finish(store: Store, trial: str, seed: int = 0) -> None:
    """Write the result of a trial with two epochs and one layer."""
    epochs = [row("epochs", trial, epoch=epoch, test_accuracy=None) for epoch in (1, 2)]
    tables = {"trials": [row("trials", trial, seed=seed)], "epochs": epochs, "layers": [row("layers", trial)]}
    store.write_result(trial, tables)


def folder(store: Store, table: str) -> Path:
    return Path(store.root, "results", table)


@pytest.mark.parametrize("table", SCHEMAS)
def test_columns_have_descriptions_and_the_table_has_a_version(table: str) -> None:
    schema = SCHEMAS[table]
    assert schema.metadata == {b"sparsweep.tables": str(TABLES_VERSION).encode()}
    assert schema.names[0] == "trial" and len(set(schema.names)) == len(schema.names)
    assert all(field.metadata[b"description"] for field in schema)


def test_documented_columns_exist() -> None:
    documented = (
        "trial sweep dataset model sparsifier sparsity density difficulty data_ratio seed profile epochs test_accuracy "
        "clean_accuracy corrupted_accuracy robust_accuracy train_accuracy train_loss parameters nonzero_parameters "
        "autoattack_accuracy validation_accuracy prerequisite_flops scoring_flops exploration_rate mask_overlap "
        "train_flops inference_flops seconds images_per_second device started_at finished_at commit versions spec"
    )
    assert set(documented.split()) <= set(SCHEMAS["trials"].names)
    epochs = (
        "trial epoch lr train_loss train_accuracy test_accuracy validation_accuracy robust_accuracy density seconds"
    )
    assert SCHEMAS["epochs"].names == epochs.split()
    layers = "trial layer position kind weights nonzero density flops explored initial_overlap"
    assert SCHEMAS["layers"].names == layers.split()
    assert SCHEMAS["memberships"].names == ["trial", "sweep"]
    assert SCHEMAS["failures"].names == ["trial", "sweep", "error", "message", "traceback", "attempt", "node", "at"]


def test_finished_trial_is_never_written_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    finish(store, FIRST)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.parquet")}
    assert len(before) == 3
    finish(store, FIRST, seed=1)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.parquet")} == before


@pytest.mark.parametrize("table", SCHEMAS)
def test_build_returns_the_declared_schema(table: str) -> None:
    built = build_table(table, [row(table, FIRST), row(table, SECOND)])
    assert built.schema.equals(SCHEMAS[table], check_metadata=True)
    assert built["trial"].to_pylist() == [FIRST, SECOND]


def test_build_rejects_an_undeclared_column() -> None:
    with pytest.raises(KeyError, match=r"layers: columns \['colour'\] are missing or not declared"):
        build_table("layers", [row("layers", FIRST), row("layers", FIRST, colour="red")])


def test_build_rejects_a_row_with_a_missing_column() -> None:
    incomplete = row("layers", FIRST)
    del incomplete["density"]
    with pytest.raises(KeyError, match=r"layers: columns \['density'\] are missing or not declared"):
        build_table("layers", [incomplete])


def test_build_rejects_a_value_of_another_type() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        build_table("layers", [row("layers", FIRST, weights="many")])


def test_pandas_reads_all_files_of_a_folder(store: Store) -> None:
    """Null values are missing in pandas, not zero. They do not change the type of a column."""
    for seed, trial in enumerate((FIRST, SECOND)):
        finish(store, trial, seed)
    trials = pd.read_parquet(folder(store, "trials"))
    assert trials[["trial", "seed"]].to_numpy().tolist() == [[FIRST, 0], [SECOND, 1]]
    epochs = pd.read_parquet(folder(store, "epochs"))
    assert epochs["epoch"].tolist() == [1, 2, 1, 2]
    assert epochs["test_accuracy"].isna().all() and epochs["test_accuracy"].dtype == "float64"
    assert set(pd.read_parquet(folder(store, "layers"))["trial"]) == {FIRST, SECOND}


def test_temporary_file_in_the_folder_is_ignored(store: Store) -> None:
    finish(store, FIRST)
    (folder(store, "trials") / f"_{SECOND}.parquet.123").write_bytes(b"half a file")
    assert pd.read_parquet(folder(store, "trials"))["trial"].tolist() == [FIRST]
    table, damaged = tables.read_table(store.storage, "trials")
    assert table["trial"].to_pylist() == [FIRST] and damaged == []


def test_read_returns_all_rows_or_the_selected_trials_and_columns(store: Store) -> None:
    for seed, trial in enumerate((FIRST, SECOND, THIRD)):
        finish(store, trial, seed)
    assert tables.read_table(store.storage, "trials")[0]["seed"].to_pylist() == [0, 1, 2]
    some, _ = tables.read_table(store.storage, "trials", trials=[THIRD, FIRST, THIRD])
    assert some["trial"].to_pylist() == [FIRST, THIRD] and some.schema.equals(SCHEMAS["trials"])
    narrow, _ = tables.read_table(store.storage, "trials", columns=["seed", "trial"])
    assert narrow.column_names == ["seed", "trial"]


def test_read_of_some_trials_works_without_the_trial_column(store: Store) -> None:
    for seed, trial in enumerate((FIRST, SECOND)):
        finish(store, trial, seed)
    table, _ = tables.read_table(store.storage, "trials", trials=[SECOND], columns=["seed"])
    assert table.to_pylist() == [{"seed": 1}]


def test_read_of_an_empty_storage_is_an_empty_table(store: Store) -> None:
    table, damaged = tables.read_table(store.storage, "trials")
    assert (len(table), damaged) == (0, []) and table.schema.equals(SCHEMAS["trials"])
    assert tables.read_table(store.storage, "trials", columns=["seed"])[0].column_names == ["seed"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_damaged_file_loses_its_own_rows_and_is_reported(store: Store, content: bytes) -> None:
    finish(store, FIRST)
    finish(store, SECOND)
    broken = folder(store, "trials") / f"{FIRST}.parquet"
    broken.write_bytes(content)
    table, damaged = tables.read_table(store.storage, "trials")
    assert table["trial"].to_pylist() == [SECOND]
    assert damaged == [str(broken)]


def test_truncated_file_loses_its_own_rows_and_is_reported(store: Store) -> None:
    finish(store, FIRST)
    finish(store, SECOND)
    broken = folder(store, "epochs") / f"{FIRST}.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    table, damaged = tables.read_table(store.storage, "epochs")
    assert table["trial"].to_pylist() == [SECOND] * 2 and damaged == [str(broken)]


def test_file_that_marks_a_finished_trial_is_written_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = store.write
    monkeypatch.setattr(store, "write", lambda path, content: (written.append(path), write(path, content)))
    finish(store, FIRST)
    assert sorted(written) == [f"results/{table}/{FIRST}.parquet" for table in ("epochs", "layers", "trials")]
    assert written[-1] == f"results/trials/{FIRST}.parquet"


def test_trial_without_its_last_file_is_not_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.write

    def crash(path: str, content: bytes) -> None:
        if "trials" in path:
            raise OSError("no space left")
        write(path, content)

    monkeypatch.setattr(store, "write", crash)
    with pytest.raises(OSError, match="no space left"):
        finish(store, FIRST)
    assert store.finished() == set()
