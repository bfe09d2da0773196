"""Selection by one's own file: what it reads, what it refuses in one line, and what is in a trial's id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import inputs, sources, trial

LABELS = torch.tensor([0, 1, 2, 0, 1])
GOOD = {"sample": range(5), "label": LABELS.tolist(), "score": [0.5, 0.9, 0.1, 0.7, 0.3]}
"""From hard to easy: 1 3 0 4 2."""

Write = Callable[..., Path]


def refuse(run: ScoringSpec, score: str) -> torch.Tensor:
    raise AssertionError(f"no scoring run is needed, asked for {score} of {run}")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writing(name: str = "mine.parquet", **columns: Any) -> Path:
        path = tmp_path / name
        pd.DataFrame({**GOOD, **columns}).to_parquet(path, index=False)
        return path

    return writing


def by_file(path: Path | str, ratio: float = 0.4, **fields: Any) -> TrialSpec:
    return trial(difficulty={"name": "scores", "file": str(path), **fields}, data_ratio=ratio)


def select(spec: TrialSpec, labels: torch.Tensor = LABELS) -> list[int]:
    return spec.difficulty.select(spec, labels, sources(refuse)).tolist()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, [1, 3]), ({"keep": "easiest"}, [2, 4]), ({"keep": "window", "window_start": 0.4}, [0, 4])],
)
def test_it_keeps_what_the_file_says(write: Write, fields: dict[str, Any], expected: list[int]) -> None:
    assert select(by_file(write(), **fields)) == expected


def test_balanced_keeps_the_ratio_of_every_class(write: Write) -> None:
    """.6 of 5 is 3: of 2, 2 and 1 samples 1.2, 1.2 and .6, so one of each."""
    assert select(by_file(write(), 0.6, balanced=True)) == [1, 2, 3]


def test_the_order_of_rows_is_of_no_matter(write: Write) -> None:
    rows = pd.DataFrame(GOOD).iloc[[3, 1, 4, 0, 2]]
    assert select(by_file(write(**{name: rows[name].tolist() for name in rows}))) == [1, 3]


def test_infinite_scores_and_further_columns_are_allowed(write: Write) -> None:
    scores = [float("inf"), 0.9, float("-inf"), 0.7, 0.3]
    assert select(by_file(write(score=scores, why=["?"] * 5))) == [0, 1]


def test_no_scoring_run_is_required(write: Write) -> None:
    assert by_file(write()).prerequisites() == ()


@pytest.mark.parametrize(("ratio", "fields"), [(1.0, {}), (0.4, {"keep": "random"})])
def test_the_file_is_not_read_where_it_decides_nothing(write: Write, ratio: float, fields: dict[str, Any]) -> None:
    path = write()
    spec = by_file(path, ratio, **fields)
    path.unlink()
    assert len(select(spec)) == round(5 * ratio)


# Identity ------------------------------------------------------------------------------------------------------------


def test_the_content_is_in_the_id_and_the_path_is_not(write: Write) -> None:
    first, moved = by_file(write("a.parquet")), by_file(write("b.parquet"))
    assert first.id == moved.id and first.difficulty != moved.difficulty
    other = by_file(write("c.parquet", score=[0.5, 0.9, 0.1, 0.7, 0.31]))
    assert other.id != first.id
    assert first.id != by_file(write("a.parquet"), keep="easiest").id


def test_the_path_of_a_parent_is_not_in_its_id_either(write: Write) -> None:
    """Nested specs too: a lottery ticket needs its dense parent, a snapshot holds its trial."""
    parents = []
    for name in ("a.parquet", "b.parquet"):
        ticket = by_file(write(name)).replace(sparsifier="lth", sparsity=0.5)
        parents.append([ticket.id, *(need.id for need in ticket.prerequisites())])
    assert parents[0] == parents[1] and len(parents[0]) == 2


def test_the_digest_is_taken_from_the_file_and_travels_with_the_spec(write: Write) -> None:
    path = write()
    spec = by_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec.difficulty.model_dump()["digest"] == digest
    text = to_json(spec)
    path.unlink()
    assert from_json(text) == spec, "a spec that was stored can be read without the file"
    assert by_file(path, digest=digest).id == spec.id


def test_a_digest_taken_once_is_taken_again_when_the_file_changes(write: Write) -> None:
    first = by_file(write())
    assert by_file(write(score=[1.0, 2.0, 3.0, 4.0, 5.0])).id != first.id


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"score": [0.5, None, 0.1, 0.7, 0.3]}, "has a null or NaN score for sample 1"),
        ({"score": [0.5, 0.9, 0.1, 0.7, float("nan")]}, "has a null or NaN score for sample 4"),
        ({"score": list("abcde")}, r"has (large_)?string in column 'score', not double"),
        ({"sample": [0, 1, 2, 3, 3]}, "has no sample 4; each from 0 to 4 must occur once"),
        ({"sample": [1, 2, 3, 4, 5]}, "has no sample 0; each from 0 to 4 must occur once"),
        ({"sample": [0, 1, 2, 3, -1]}, "has no sample 4; each from 0 to 4 must occur once"),
        ({"sample": [0, 1, 2, 3, 4.5]}, "has double in column 'sample', not int64"),
        ({"sample": [0, 1, 2, 3, None]}, "has 1 null values in column 'sample'"),
    ],
)
def test_a_bad_file_is_refused_when_the_sweep_is_read(write: Write, columns: dict[str, Any], said: str) -> None:
    path = write(**columns)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    line = format_error(caught.value)
    assert line.startswith(f"difficulty.file: {path} ") and re.search(said, line) and "\n" not in line


def test_a_missing_column_is_named_with_those_there_are(write: Write) -> None:
    path = write()
    pd.DataFrame(GOOD).rename(columns={"score": "el2n"}).to_parquet(path, index=False)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    assert format_error(caught.value) == f"difficulty.file: {path} has no column 'score' (got sample, label, el2n)"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        by_file(tmp_path / "none.parquet")
    assert format_error(caught.value) == f"difficulty.file: {tmp_path}/none.parquet not found on this node"


@pytest.mark.parametrize("content", [b"", b"sample,label,score\n0,0,1\n", b"PAR1" + bytes(100)])
def test_what_is_no_parquet_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    line = format_error(caught.value)
    assert line.startswith(f"difficulty.file: {path} is not a valid Parquet file: ") and "\n" not in line


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "difficulty.file: Field required"),
        (
            {"file": "mine.parquet"},
            "difficulty.file: mine.parquet is relative. Set an absolute path, or one from ~ on.",
        ),
        ({"file": "/x", "digest": "abc"}, "difficulty.digest: String should match pattern"),
        ({"file": "nowhere://x/y"}, "difficulty.file: "),
        ({"file": 3}, "difficulty.file: Input should be a valid string"),
        ({"file": "/x", "digest": "0" * 64, "runs": 3}, "difficulty: unknown field 'runs'"),
    ],
)
def test_bad_fields_are_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(difficulty={"name": "scores", **fields})
    line = format_error(caught.value)
    assert line.startswith(said) and "\n" not in line


def test_a_file_that_changed_since_is_refused(write: Write) -> None:
    spec = by_file(write())
    path = write(score=[9.0, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(
        ValueError, match=f"difficulty.file: {path} has changed: its digest is .* not .* Restore the old file"
    ):
        select(spec)


def test_a_file_that_went_since_is_named(write: Write) -> None:
    path = write()
    spec = by_file(path)
    path.unlink()
    with pytest.raises(ValueError, match=rf"difficulty.file: {path} not found on this node"):
        select(spec)


def test_scores_of_more_samples_than_there_are_are_refused(write: Write) -> None:
    with pytest.raises(ValueError, match="has scores of 5 samples; the training set has 4"):
        select(by_file(write()), LABELS[:4])


def test_scores_of_other_data_are_refused(write: Write) -> None:
    other = torch.tensor([0, 1, 1, 0, 0])
    with pytest.raises(ValueError, match=r"has label 2 for sample 2; the training set has 1\. 2 of 5 labels differ"):
        select(by_file(write()), other)


# From a scoring run --------------------------------------------------------------------------------------------------


def test_what_a_scoring_run_left_selects_what_its_difficulty_does(digits: DeviceData, store: Store) -> None:
    by_run = trial(difficulty={"name": "el2n", "runs": 1, "epoch": 1}, data_ratio=0.2)
    (scoring,) = by_run.difficulty.prerequisites(by_run)
    open_run(scoring, inputs(digits), store, "test").run_for(float("inf"))
    path = Path(store.root, store.scores_path(scoring.id, "el2n"))
    by_path = by_file(path, 0.2)

    def left(run: ScoringSpec, score: str) -> torch.Tensor:
        return torch.from_numpy(store.read_scores(run.id, score).copy())

    expected = by_run.difficulty.select(by_run, digits.train_labels, sources(left))
    assert torch.equal(by_path.difficulty.select(by_path, digits.train_labels, sources(refuse)), expected)


def test_it_is_listed_with_a_line() -> None:
    assert difficulties["scores"].summary().startswith("Samples with the highest scores in a user's Parquet file")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.parquet"
    {"pipe": os.mkfifo, "folder": Path.mkdir, "device": lambda link: link.symlink_to("/dev/zero")}[kind](path)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    assert "cannot be read: it is a " in format_error(caught.value) and "\n" not in format_error(caught.value)


def odd_columns() -> dict[str, pa.Array]:
    """Columns of five rows that are no scores."""
    return {
        "nested": pa.array([[0.5]] * 5),
        "struct": pa.array([{"a": 1.0}] * 5),
        "map": pa.array([[("a", 1.0)]] * 5, pa.map_(pa.string(), pa.float64())),
        "nothing": pa.nulls(5),
        "bytes": pa.array([b"\xff"] * 5),
        "dates": pa.array([0] * 5, pa.timestamp("us")),
        "texts by number": pa.array(["a"] * 5).dictionary_encode(),
    }


@pytest.mark.parametrize("column", ["sample", "label", "score"])
@pytest.mark.parametrize("kind", odd_columns())
def test_a_column_of_another_kind_is_refused_in_one_line(tmp_path: Path, column: str, kind: str) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(
        pa.table({**pa.table({k: list(v) for k, v in GOOD.items()}).to_pydict(), column: odd_columns()[kind]}), path
    )
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    said = format_error(caught.value)
    assert said.startswith("difficulty.file: ") and "\n" not in said and len(said) < 500


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table([[0], [0], [0.5], [0.7]], names=["sample", "label", "score", "score"]), path)
    with pytest.raises(ValidationError, match="has several columns 'score'"):
        by_file(path)


def test_a_file_of_too_many_rows_is_not_unpacked(tmp_path: Path) -> None:
    """Runs of equal values take no room: 200 million rows in a few kB."""
    path = tmp_path / "mine.parquet"
    part = pa.table({name: pa.array(np.zeros(2_000_000, kind)) for name, kind in KINDS.items()})
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(51):
            writer.write_table(part)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(ValidationError, match="has 102,000,000 rows; the maximum is 100,000,000"):
        by_file(path)


KINDS = {"sample": np.int64, "label": np.int64, "score": np.float64}
