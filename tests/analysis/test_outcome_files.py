"""Reader of outcomes: with and without the compacted copy, and with damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsweep.analysis import outcome_files
from sparsweep.analysis.load import load_outcomes
from sparsweep.analysis.outcomes.totals import sample_accuracy
from sparsweep.analysis.snapshot import compact
from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store

SAMPLES, TRIALS = 50, 37


def outcomes(trial: str, split: str) -> pa.Table:
    random = np.random.default_rng([int(trial, 16), len(split)])
    labels, predictions = np.arange(SAMPLES) % 7, random.integers(0, 7, SAMPLES)
    columns = {
        "trial": [trial] * SAMPLES,
        "split": [split] * SAMPLES,
        "sample": np.arange(SAMPLES),
        "label": labels,
        "prediction": predictions,
        "confidence": random.random(SAMPLES).astype(np.float16),
        "label_probability": random.random(SAMPLES).astype(np.float16),
        "loss": random.random(SAMPLES).astype(np.float16),
        "correct": labels == predictions,
    }
    schema = schemas.SCHEMAS["outcomes"]
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)


IDS = [f"{number:016x}" for number in range(1, TRIALS + 1)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Storage with the outcomes of all trials on two splits."""
    store = Store(str(tmp_path))
    store.mark()
    for trial in IDS:
        for split in ("test", "train"):
            store.write_outcomes(trial, split, outcomes(trial, split))
    return store


def expected(trials: list[str], *splits: str) -> pd.DataFrame:
    tables = [outcomes(trial, split) for split in splits for trial in trials]
    return sorted_frame(pa.concat_tables(tables).to_pandas())


def sorted_frame(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(**{name: frame[name].astype(str) for name in ("trial", "split") if name in frame})
    return frame.sort_values(["split", "trial", "sample"], ignore_index=True)


def leave_as_files(store: Store) -> None:
    """Read trial files."""


def compact_all(store: Store) -> None:
    """Read the copy alone."""
    assert compact(store.storage, "outcomes") == (2 * TRIALS * SAMPLES, 2 * TRIALS)


def compact_some(store: Store) -> None:
    """Read a copy of some trials, one of which has changed since, and trial files."""
    for trial in IDS[20:]:
        store.delete(store.outcomes_path(trial, "test"))
    store.write_outcomes(IDS[3], "test", outcomes(IDS[4], "test").set_column(0, "trial", pa.array([IDS[3]] * SAMPLES)))
    compact(store.storage, "outcomes")
    for trial in (*IDS[20:], IDS[3]):
        store.write_outcomes(trial, "test", outcomes(trial, "test"))


def damage_the_copy(store: Store) -> None:
    """Read what the damaged copy still has, and trial files for the rest."""
    compact_all(store)
    path = Path(store.root, outcome_files.COPY)
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(2).column(4).data_page_offset
    content[start + 40] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("prepare", [leave_as_files, compact_all, compact_some, damage_the_copy])
class TestEveryForm:
    def test_all_rows_are_read_once(self, prepare: Callable[[Store], None], store: Store) -> None:
        prepare(store)
        found = sorted_frame(load_outcomes(store.storage))
        pd.testing.assert_frame_equal(found, expected(IDS, "test", "train"), check_exact=True)

    def test_selections_are_applied(self, prepare: Callable[[Store], None], store: Store) -> None:
        prepare(store)
        chosen = [IDS[3], IDS[17], IDS[30]]
        filters = [("split", "==", "test"), ("correct", "==", True), ("confidence", ">", 0.5)]
        found = load_outcomes(store.storage, trials=chosen, columns=["trial", "sample"], filters=filters)
        every = expected(chosen, "test")
        wanted = every[every["correct"] & (every["confidence"] > 0.5)]
        assert list(found.columns) == ["trial", "sample"] and 0 < len(found) == len(wanted)
        assert sorted(map(tuple, found.astype({"trial": str}).to_numpy())) == sorted(
            map(tuple, wanted[["trial", "sample"]].to_numpy())
        )

    def test_tables_hold_one_split_and_wanted_columns(self, prepare: Callable[[Store], None], store: Store) -> None:
        prepare(store)
        parts = list(outcome_files.read_batches(store.storage, "train", IDS[:5], ["sample", "trial"]))
        assert all(part.column_names == ["sample", "trial"] for part in parts)
        assert sum(map(len, parts)) == 5 * SAMPLES


def test_a_damaged_file_loses_its_own_rows(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Path(store.root, store.outcomes_path(IDS[5], "test")).write_bytes(b"PAR1")
    found = load_outcomes(store.storage, filters=[("split", "==", "test")])
    assert set(found["trial"]) == set(IDS) - {IDS[5]} and f"{IDS[5]}-test.parquet" in caplog.text
    rows, files = compact(store.storage, "outcomes")
    assert (rows, files) == ((2 * TRIALS - 1) * SAMPLES, 2 * TRIALS - 1)


def test_only_wanted_row_groups_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    compact_all(store)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, *a, **k: read.append(i) or original(self, i, *a, **k)
    )
    load_outcomes(store.storage, trials=IDS[0], filters=[("split", "==", "train")])
    assert len(read) == 1


def test_prediction_and_correct_take_at_most_one_and_a_half_bytes(tmp_path: Path) -> None:
    """100 classes and 10,000 samples, as CIFAR-100: size in the compacted copy."""
    store, samples = Store(str(tmp_path)), 10_000
    store.mark()
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, samples)
    for trial in IDS[:16]:
        predictions = np.where(random.random(samples) < 0.6, labels, random.integers(0, 100, samples))
        values = {name: random.random(samples) for name in ("confidence", "label_probability", "loss")}
        columns = {
            "trial": [trial] * samples,
            "split": ["test"] * samples,
            "sample": np.arange(samples),
            "label": labels,
            "prediction": predictions,
            "correct": predictions == labels,
            **values,
        }
        schema = schemas.SCHEMAS["outcomes"]
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
        store.write_outcomes(trial, "test", pa.table(arrays, schema=schema))
    compact(store.storage, "outcomes")
    metadata = pq.read_metadata(Path(store.root, outcome_files.COPY))
    sizes = {
        column.path_in_schema: column.total_compressed_size
        for group in range(metadata.num_row_groups)
        for column in (metadata.row_group(group).column(index) for index in range(metadata.num_columns))
    }
    assert (sizes["prediction"] + sizes["correct"]) / metadata.num_rows <= 1.5
    assert sum(sizes.values()) / metadata.num_rows <= 8.5


def test_a_storage_without_outcomes_is_empty(tmp_path: Path) -> None:
    found = load_outcomes(str(tmp_path))
    assert found.empty and list(found.columns) == schemas.SCHEMAS["outcomes"].names


@pytest.mark.parametrize("prepare", [leave_as_files, compact_all, compact_some])
def test_sample_accuracy_is_the_mean_over_the_trials_of_a_group(prepare: Callable[[Store], None], store: Store) -> None:
    prepare(store)
    groups = {trial: ("even" if int(trial, 16) % 2 == 0 else "odd") for trial in IDS[:30]}
    found = sample_accuracy(store.storage, groups)
    rows = expected(IDS[:30], "test")
    wanted = rows.groupby([rows["sample"], rows["trial"].map(groups)])["correct"].mean().unstack()
    assert found.shape == (SAMPLES, 2)
    pd.testing.assert_frame_equal(found[["even", "odd"]], wanted, check_names=False, check_index_type=False)


def test_a_sample_that_no_trial_evaluated_has_no_accuracy(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_outcomes(IDS[0], "train", outcomes(IDS[0], "train").slice(10))
    found = sample_accuracy(store.storage, {IDS[0]: "only"}, "train")["only"]
    assert found[:10].isna().all() and found[10:].isin([0.0, 1.0]).all() and len(found) == SAMPLES
