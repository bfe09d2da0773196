"""Loading of Parquet tables: complete, partial, damaged and absent. Also imports of the analysis package."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import sparsweep.analysis as analysis
from sparsweep.analysis import load_epochs, load_failures, load_layers, load_trials
from sparsweep.trainables.storage import addresses, schemas


def write(storage: Path, name: str, rows: list[dict], table: str = "trials") -> None:
    folder = Path(addresses.table_folder(str(storage), table))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(schemas.build_table(table, rows), folder / name)


def test_every_trial_is_read_with_the_declared_columns(tmp_path, row):
    write(tmp_path, "a.parquet", [row("dense", 0.0, 0, 0.6)])
    write(tmp_path, "b.parquet", [row("set", 0.5, 0, None), row("set", 0.9, 0, 0.7)])
    trials = load_trials(str(tmp_path))
    assert list(trials.columns) == schemas.SCHEMAS["trials"].names
    assert sorted(trials["sparsity"]) == [0.0, 0.5, 0.9]
    assert trials.set_index("sparsity")["test_accuracy"].isna().to_dict() == {0.0: False, 0.5: True, 0.9: False}


def test_only_the_requested_trials_are_read(tmp_path, row):
    rows = [row("dense", 0.0, seed, 0.6) for seed in range(3)]
    write(tmp_path, "a.parquet", rows)
    assert list(load_trials(str(tmp_path), [rows[1]["trial"]])["seed"]) == [1]
    assert load_trials(str(tmp_path), []).empty


def test_damaged_file_is_skipped_and_logged(tmp_path, row, caplog):
    write(tmp_path, "good.parquet", [row("dense", 0.0, 0, 0.6)])
    write(tmp_path, "torn.parquet", [row("dense", 0.0, 1, 0.6)])
    damaged = Path(addresses.table_folder(str(tmp_path), "trials")) / "torn.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING, logger="sparsweep.trainables"):
        trials = load_trials(str(tmp_path))
    assert list(trials["seed"]) == [0]
    [record] = caplog.records
    assert str(damaged) in record.getMessage()


@pytest.mark.parametrize(
    ("load", "table"),
    [(load_trials, "trials"), (load_epochs, "epochs"), (load_layers, "layers"), (load_failures, "failures")],
)
def test_empty_storage_gives_an_empty_frame(tmp_path, load, table):
    frame = load(str(tmp_path))
    assert frame.empty
    assert list(frame.columns) == schemas.SCHEMAS[table].names


def test_each_loader_reads_its_own_table(tmp_path):
    epoch = {**dict.fromkeys(schemas.SCHEMAS["epochs"].names), "trial": "a", "epoch": 1}
    layer = {**dict.fromkeys(schemas.SCHEMAS["layers"].names), "trial": "a", "layer": "stem.weight"}
    failure = {**dict.fromkeys(schemas.SCHEMAS["failures"].names), "trial": "a", "error": "MemoryError"}
    for table, content in (("epochs", epoch), ("layers", layer), ("failures", failure)):
        write(tmp_path, "a.parquet", [content], table)
    assert list(load_epochs(str(tmp_path))["epoch"]) == [1]
    assert list(load_layers(str(tmp_path))["layer"]) == ["stem.weight"]
    assert list(load_failures(str(tmp_path))["error"]) == ["MemoryError"]


def test_loaders_do_not_import_matplotlib():
    code = (
        "import sys; from sparsweep.analysis import load_trials; assert 'matplotlib' not in sys.modules;"
        "from sparsweep.analysis import figures, load_trials; assert figures.FIGURES;"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules"
    )
    root = Path(analysis.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_loaders_select_columns_and_rows(tmp_path, row):
    write(tmp_path, "a.parquet", [row("set", 0.5, seed, 0.6) for seed in range(3)])
    table_frame = load_trials(str(tmp_path), columns=["seed", "sparsity"], filters=[("seed", ">", 0)])
    assert table_frame.to_dict("list") == {"seed": [1, 2], "sparsity": [0.5, 0.5]}


@pytest.mark.parametrize("table", schemas.SCHEMAS)
def test_every_column_is_described(table):
    description = analysis.describe(table)
    assert list(description["column"]) == schemas.SCHEMAS[table].names
    assert description["meaning"].str.len().min() > 2


@pytest.mark.parametrize(
    "selection", [{"trials": []}, {"filters": [("sparsity", "in", [])]}, {"filters": [("trial", "in", ())]}]
)
def test_empty_selection_is_empty_and_logs_nothing(selection, tmp_path, caplog):
    write(tmp_path, "a.parquet", [{**dict.fromkeys(schemas.SCHEMAS["trials"].names), "trial": "a", "sparsity": 0.5}])
    assert load_trials(str(tmp_path), **selection).empty
    assert caplog.text == ""
    assert len(load_trials(str(tmp_path), filters=[("sparsity", "not in", [])])) == 1
