"""Reading the tables: other versions, filters applied by Parquet, and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsweep.trainables.storage import schemas, score_files, tables
from sparsweep.trainables.storage.store import Store

GOLDEN = Path(__file__).parents[1] / "golden" / "tables_v1"
"""Tables of a quickstart trial, written by version 1 (commit ad95590)."""


def trial(number: int, **changes: Any) -> dict[str, Any]:
    return {**dict.fromkeys(schemas.SCHEMAS["trials"].names), "trial": f"{number:016x}", "seed": number, **changes}


def finish(store: Store, number: int, **changes: Any) -> Path:
    row = trial(number, **changes)
    store.write_result(row["trial"], {"trials": [row]})
    return Path(store.root, store.result_path("trials", row["trial"]))


@pytest.mark.parametrize("table", ["trials", "epochs", "layers"])
def test_table_of_version_1_is_read_with_nulls_in_new_columns(table: str) -> None:
    rows, damaged = tables.read_table(str(GOLDEN), table)
    assert damaged == [] and rows.schema.equals(schemas.SCHEMAS[table])
    missing = {name for name in rows.column_names if rows[name].null_count == len(rows)}
    added = {
        "trials": {"prerequisite_flops", "scoring_flops", "exploration_rate", "mask_overlap", "dataset_parameters"},
        "epochs": {"validation_accuracy"},
        "layers": {"explored", "initial_overlap"},
    }
    assert added[table] <= missing
    assert len(rows) == {"trials": 1, "epochs": 12, "layers": 10}[table]


def test_values_of_version_1_are_unchanged() -> None:
    [row] = tables.read_table(str(GOLDEN), "trials")[0].to_pylist()
    assert (row["sparsifier"], row["sparsity"], row["seed"], row["epochs"]) == ("set", 0.8, 0, 12)
    assert row["test_accuracy"] == pytest.approx(201 / 360)


def test_files_of_several_versions_are_read_together(store: Store) -> None:
    finish(store, 1, rotation=15.0)
    old = next((GOLDEN / "results" / "trials").iterdir())
    (Path(store.root) / "results" / "trials" / old.name).write_bytes(old.read_bytes())
    rows, damaged = tables.read_table(store.storage, "trials", columns=["seed", "rotation"])
    assert (rows.to_pylist(), damaged) == ([{"seed": 1, "rotation": 15.0}, {"seed": 0, "rotation": None}], [])


def test_file_of_a_later_version_is_an_error_with_its_name(store: Store) -> None:
    finish(store, 1)
    path = finish(store, 2)
    table = pq.read_table(path)
    newest = schemas.TABLES_VERSION
    newer = {**table.schema.metadata, b"sparsweep.tables": str(newest + 1).encode()}
    pq.write_table(table.replace_schema_metadata(newer), path)
    message = rf"^{path}: tables of version {newest + 1}, this sparsweep reads up to {newest}\. "
    with pytest.raises(tables.TableVersionError, match=message):
        tables.read_table(store.storage, "trials")


def test_parquet_file_with_other_columns_is_damaged(store: Store) -> None:
    path = finish(store, 1)
    pq.write_table(pa.table({"name": ["x"]}), path)
    rows, damaged = tables.read_table(store.storage, "trials")
    assert (len(rows), damaged) == (0, [str(path)])


def test_flipped_bit_is_found_by_the_checksum(store: Store) -> None:
    path = finish(store, 1, spec="unmistakable" * 100)
    content, index = bytearray(path.read_bytes()), schemas.SCHEMAS["trials"].get_field_index("spec")
    pages = pq.ParquetFile(path).metadata.row_group(0).column(index)
    content[pages.data_page_offset - 1] ^= 0xFF  # the last byte of the dictionary, where the text is
    path.write_bytes(bytes(content))
    assert tables.read_table(store.storage, "trials")[1] == [str(path)]


def test_filters_are_combined_and_need_not_be_selected_columns(store: Store) -> None:
    for number in range(4):
        finish(store, number, sparsity=number / 10, sparsifier="set" if number % 2 else "snip")
    filters = [[("sparsity", ">=", 0.1), ("sparsifier", "in", ["set"])]]
    rows, _ = tables.read_table(store.storage, "trials", columns=["seed"], filters=filters)
    assert rows.to_pylist() == [{"seed": 1}, {"seed": 3}]
    some, _ = tables.read_table(store.storage, "trials", [f"{3:016x}"], ["seed"], filters)
    assert some.to_pylist() == [{"seed": 3}]


def test_files_of_unselected_trials_are_not_opened(store: Store) -> None:
    finish(store, 1)
    other = finish(store, 2)
    other.write_bytes(b"damaged")
    rows, damaged = tables.read_table(store.storage, "trials", trials=[f"{1:016x}"])
    assert (len(rows), damaged) == (1, [])


def test_other_columns_are_read_only_if_a_row_matches_the_filter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(store, 1, sparsifier="set")
    finish(store, 2, sparsifier="snip")
    columns_read: list[list[str]] = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda self, columns, **options: (columns_read.append(columns), read(self, columns))[1]
    )
    tables.read_table(store.storage, "trials", filters=[[("sparsifier", "==", "set")]])
    assert sum(columns == ["sparsifier"] for columns in columns_read) == 2
    assert sum(len(columns) > 50 for columns in columns_read) == 1


@pytest.mark.parametrize("wrong", [{"columns": ["acuracy"]}, {"filters": [[("acuracy", ">", 0.5)]]}])
def test_unknown_column_is_an_error_that_lists_the_columns(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^trials: unknown column 'acuracy'; choose from trial, sweep, dataset"):
        tables.read_table(store.storage, "trials", **wrong)


def test_trial_is_found_in_a_file_of_many_trials(store: Store) -> None:
    path = Path(store.root) / "results" / "trials" / "all.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(schemas.build_table("trials", [trial(number) for number in range(5)]), path)
    rows, _ = tables.read_table(store.storage, "trials", trials=[f"{3:016x}"], columns=["seed"])
    assert rows.to_pylist() == [{"seed": 3}]


def write_scores(store: Store, name: str, scores: list[float]) -> Path:
    path = Path(store.root) / "artifacts" / "scores" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"sample": np.arange(len(scores)), "label": np.zeros(len(scores), dtype=np.int64), "score": scores}
    pq.write_table(pa.table(content), path)
    return path


def test_scores_are_read_by_run_and_name(store: Store) -> None:
    write_scores(store, "aaaa-el2n", [0.5, 1.0])
    write_scores(store, "aaaa-grand", [3.0, 4.0])
    write_scores(store, "bbbb-el2n", [0.7, 0.9])
    rows, damaged = score_files.read_scores(store.storage, ["aaaa", "cccc"])
    assert damaged == []
    assert rows.select(["run", "name", "sample", "score"]).to_pylist() == [
        {"run": "aaaa", "name": name, "sample": sample, "score": score}
        for name, sample, score in [("el2n", 0, 0.5), ("el2n", 1, 1.0), ("grand", 0, 3.0), ("grand", 1, 4.0)]
    ]


def test_damaged_scores_are_reported(store: Store) -> None:
    path = write_scores(store, "aaaa-el2n", [0.5, 1.0])
    path.write_bytes(path.read_bytes()[:-9])
    rows, damaged = score_files.read_scores(store.storage, ["aaaa"])
    assert (len(rows), damaged) == (0, [str(path)])


def test_storage_without_scores_has_no_rows(store: Store) -> None:
    assert len(score_files.read_scores(store.storage, ["aaaa"])[0]) == 0
