"""Selection by a user's score file: reading, errors in one line, and the trial id."""

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
"""Samples from hard to easy: 1 3 0 4 2."""

Write = Callable[..., Path]


def unexpected_request(run: ScoringSpec, score: str) -> torch.Tensor:
    raise AssertionError(f"unexpected request for {score} of {run}")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str = "mine.parquet", **columns: Any) -> Path:
        path = tmp_path / name
        pd.DataFrame({**GOOD, **columns}).to_parquet(path, index=False)
        return path

    return write_file


def by_file(path: Path | str, ratio: float = 0.4, **fields: Any) -> TrialSpec:
    return trial(difficulty={"name": "scores", "file": str(path), **fields}, data_ratio=ratio)


def select(spec: TrialSpec, labels: torch.Tensor = LABELS) -> list[int]:
    return spec.difficulty.select(spec, labels, sources(unexpected_request)).tolist()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, [1, 3]), ({"keep": "easiest"}, [2, 4]), ({"keep": "window", "window_start": 0.4}, [0, 4])],
)
def test_scores_of_the_file_select_the_samples(write: Write, fields: dict[str, Any], expected: list[int]) -> None:
    assert select(by_file(write(), **fields)) == expected


def test_balanced_keeps_the_ratio_of_every_class(write: Write) -> None:
    """0.6 of 5 samples is 3. The classes with 2, 2 and 1 samples get 1.2, 1.2 and 0.6: one sample each."""
    assert select(by_file(write(), 0.6, balanced=True)) == [1, 2, 3]


def test_order_of_rows_does_not_matter(write: Write) -> None:
    rows = pd.DataFrame(GOOD).iloc[[3, 1, 4, 0, 2]]
    assert select(by_file(write(**{name: rows[name].tolist() for name in rows}))) == [1, 3]


def test_infinite_scores_and_additional_columns_are_allowed(write: Write) -> None:
    scores = [float("inf"), 0.9, float("-inf"), 0.7, 0.3]
    assert select(by_file(write(score=scores, comment=["?"] * 5))) == [0, 1]


def test_no_scoring_run_is_required(write: Write) -> None:
    assert by_file(write()).prerequisites() == ()


@pytest.mark.parametrize(("ratio", "fields"), [(1.0, {}), (0.4, {"keep": "random"})])
def test_file_is_not_read_if_no_samples_are_ranked(write: Write, ratio: float, fields: dict[str, Any]) -> None:
    path = write()
    spec = by_file(path, ratio, **fields)
    path.unlink()
    assert len(select(spec)) == round(5 * ratio)


# Identity ------------------------------------------------------------------------------------------------------------


def test_id_depends_on_the_content_and_not_on_the_path(write: Write) -> None:
    first, moved = by_file(write("a.parquet")), by_file(write("b.parquet"))
    assert first.id == moved.id and first.difficulty != moved.difficulty
    other = by_file(write("c.parquet", score=[0.5, 0.9, 0.1, 0.7, 0.31]))
    assert other.id != first.id
    assert first.id != by_file(write("a.parquet"), keep="easiest").id


def test_id_of_a_prerequisite_does_not_depend_on_the_path(write: Write) -> None:
    """A lottery ticket requires its dense parent, whose spec contains the same path."""
    parents = []
    for name in ("a.parquet", "b.parquet"):
        ticket = by_file(write(name)).replace(sparsifier="lth", sparsity=0.5)
        parents.append([ticket.id, *(parent.id for parent in ticket.prerequisites())])
    assert parents[0] == parents[1] and len(parents[0]) == 2


def test_digest_is_computed_from_the_file_and_stored_in_the_spec(write: Write) -> None:
    path = write()
    spec = by_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert spec.difficulty.model_dump()["digest"] == digest
    text = to_json(spec)
    path.unlink()
    assert from_json(text) == spec, "a stored spec can be loaded without the file"
    assert by_file(path, digest=digest).id == spec.id


def test_digest_is_computed_again_if_the_file_changes(write: Write) -> None:
    first = by_file(write())
    assert by_file(write(score=[1.0, 2.0, 3.0, 4.0, 5.0])).id != first.id


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "message"),
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
def test_invalid_file_is_an_error_when_the_trial_is_created(
    write: Write, columns: dict[str, Any], message: str
) -> None:
    path = write(**columns)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    line = format_error(caught.value)
    assert line.startswith(f"difficulty.file: {path} ") and re.search(message, line) and "\n" not in line


def test_missing_column_is_an_error_that_lists_the_columns(write: Write) -> None:
    path = write()
    pd.DataFrame(GOOD).rename(columns={"score": "el2n"}).to_parquet(path, index=False)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    assert format_error(caught.value) == f"difficulty.file: {path} has no column 'score' (got sample, label, el2n)"


def test_missing_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        by_file(tmp_path / "none.parquet")
    assert format_error(caught.value) == f"difficulty.file: {tmp_path}/none.parquet not found on this node"


@pytest.mark.parametrize("content", [b"", b"sample,label,score\n0,0,1\n", b"PAR1" + bytes(100)])
def test_file_of_another_format_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    line = format_error(caught.value)
    assert line.startswith(f"difficulty.file: {path} is not a valid Parquet file: ") and "\n" not in line


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_invalid_field_is_a_one_line_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(difficulty={"name": "scores", **fields})
    line = format_error(caught.value)
    assert line.startswith(message) and "\n" not in line


def test_changed_file_is_an_error(write: Write) -> None:
    spec = by_file(write())
    path = write(score=[9.0, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(
        ValueError, match=f"difficulty.file: {path} has changed: its digest is .* not .* Restore the old file"
    ):
        select(spec)


def test_deleted_file_is_an_error_with_its_path(write: Write) -> None:
    path = write()
    spec = by_file(path)
    path.unlink()
    with pytest.raises(ValueError, match=rf"difficulty.file: {path} not found on this node"):
        select(spec)


def test_scores_of_too_many_samples_are_an_error(write: Write) -> None:
    with pytest.raises(ValueError, match="has scores of 5 samples; the training set has 4"):
        select(by_file(write()), LABELS[:4])


def test_scores_of_other_data_are_an_error(write: Write) -> None:
    other = torch.tensor([0, 1, 1, 0, 0])
    with pytest.raises(ValueError, match=r"has label 2 for sample 2; the training set has 1\. 2 of 5 labels differ"):
        select(by_file(write()), other)


# Scores of a scoring run ---------------------------------------------------------------------------------------------


def test_file_of_a_scoring_run_selects_the_same_samples_as_its_difficulty(digits: DeviceData, store: Store) -> None:
    by_run = trial(difficulty={"name": "el2n", "runs": 1, "epoch": 1}, data_ratio=0.2)
    (scoring,) = by_run.difficulty.prerequisites(by_run)
    open_run(scoring, inputs(digits), store, "test").run_for(float("inf"))
    path = Path(store.root, store.scores_path(scoring.id, "el2n"))
    by_path = by_file(path, 0.2)

    def stored_scores(run: ScoringSpec, score: str) -> torch.Tensor:
        return torch.from_numpy(store.read_scores(run.id, score).copy())

    expected = by_run.difficulty.select(by_run, digits.train_labels, sources(stored_scores))
    assert torch.equal(by_path.difficulty.select(by_path, digits.train_labels, sources(unexpected_request)), expected)


def test_difficulty_has_a_summary() -> None:
    assert difficulties["scores"].summary().startswith("Samples with the highest scores in a user's Parquet file")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_path_that_is_no_regular_file_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.parquet"
    {"pipe": os.mkfifo, "folder": Path.mkdir, "device": lambda link: link.symlink_to("/dev/zero")}[kind](path)
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    assert "cannot be read: it is a " in format_error(caught.value) and "\n" not in format_error(caught.value)


def invalid_columns() -> dict[str, pa.Array]:
    """Return columns of five rows with types that are no scores."""
    return {
        "nested": pa.array([[0.5]] * 5),
        "struct": pa.array([{"a": 1.0}] * 5),
        "map": pa.array([[("a", 1.0)]] * 5, pa.map_(pa.string(), pa.float64())),
        "null": pa.nulls(5),
        "bytes": pa.array([b"\xff"] * 5),
        "dates": pa.array([0] * 5, pa.timestamp("us")),
        "dictionary": pa.array(["a"] * 5).dictionary_encode(),
    }


@pytest.mark.parametrize("column", ["sample", "label", "score"])
@pytest.mark.parametrize("kind", invalid_columns())
def test_column_of_another_type_is_a_one_line_error(tmp_path: Path, column: str, kind: str) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(
        pa.table({**pa.table({k: list(v) for k, v in GOOD.items()}).to_pydict(), column: invalid_columns()[kind]}), path
    )
    with pytest.raises(ValidationError) as caught:
        by_file(path)
    message = format_error(caught.value)
    assert message.startswith("difficulty.file: ") and "\n" not in message and len(message) < 500


def test_duplicate_column_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table([[0], [0], [0.5], [0.7]], names=["sample", "label", "score", "score"]), path)
    with pytest.raises(ValidationError, match="has several columns 'score'"):
        by_file(path)


def test_file_with_too_many_rows_is_not_unpacked(tmp_path: Path) -> None:
    """Equal values are compressed: 102 million rows take less than 2 MB."""
    path = tmp_path / "mine.parquet"
    part = pa.table({name: pa.array(np.zeros(2_000_000, kind)) for name, kind in DTYPES.items()})
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(51):
            writer.write_table(part)
    assert path.stat().st_size < 2_000_000
    with pytest.raises(ValidationError, match="has 102,000,000 rows; the maximum is 100,000,000"):
        by_file(path)


DTYPES = {"sample": np.int64, "label": np.int64, "score": np.float64}
