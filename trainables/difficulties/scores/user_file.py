"""Hard samples by scores of your own: a Parquet file with the columns ``sample``, ``label`` and ``score``.

``sample`` counts the training images from 0 in the order of the data set, each once; ``label`` is its class, which
guards against the scores of another data set or order; larger scores are harder, infinite ones are allowed. Scoring
runs leave such files (``artifacts/scores/RUN-SCORE.parquet``), so theirs can be used, averaged or edited.

A trial is what the scores are and not where they lie: the path is no part of its id, the SHA-256 of the file is. It is
taken when a sweep is read, unless given, and verified whenever a trial selects its samples. That happens on the
worker: every node must see the file under the same path (``s3://`` and ``gs://`` paths do).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from sparsweep.trainables.difficulties.base import PrerequisiteOutputs, difficulties
from sparsweep.trainables.difficulties.selection import Selection
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.specs.base import FileBacked, SpecError, shortened
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.addresses import resolve_storage
from sparsweep.trainables.storage.filesystem import expand_home
from sparsweep.trainables.storage.user_files import read_user_file

COLUMNS = ["sample", "label", "score"]
MOST_SAMPLES = 10**8
"""Rows of a file that are read: a small file can unpack to any number."""


def fetch(file: str) -> bytes:
    """The content of ``file``, a local path or a URI; ValueError if it cannot be read."""
    try:
        return read_user_file(file)
    except FileNotFoundError:
        raise ValueError(f"there is no file {file} (on this machine)") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from None


def parse(content: bytes, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (int64) and scores (float64) of samples 0 to N-1; ValueError names ``file`` and what is wrong in it."""
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as parquet:
            rows, names = parquet.metadata.num_rows, parquet.schema_arrow.names
            for column in COLUMNS:
                if names.count(column) != 1:
                    count = "several columns" if column in names else "no column"
                    raise ValueError(f"{file} has {count} {column!r}; it has {shortened(', '.join(names))}")
            if rows > MOST_SAMPLES:
                raise ValueError(f"{file} has {rows:,} rows, the most that are read are {MOST_SAMPLES:,}")
            table = parquet.read(COLUMNS)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no whole Parquet file: {shortened(str(error))}") from None
    samples, labels = (_whole_numbers(table, column, file) for column in ("sample", "label"))
    missing = np.setdiff1d(np.arange(len(samples)), samples)
    if len(missing):
        raise ValueError(f"{file} lacks sample {missing[0]}; it must have each from 0 to {len(samples) - 1} once")
    order = samples.argsort()
    scores = _column(table, "score", pa.float64(), file)[order]
    if np.isnan(scores).any():
        raise ValueError(f"{file} has no score for sample {np.flatnonzero(np.isnan(scores))[0]}: it is null or NaN")
    return labels[order], scores


def _whole_numbers(table: pa.Table, column: str, file: str) -> np.ndarray:
    if table[column].null_count:
        raise ValueError(f"{file} has {table[column].null_count} empty values in column {column!r}")
    return _column(table, column, pa.int64(), file)


def _column(table: pa.Table, column: str, kind: pa.DataType, file: str) -> np.ndarray:
    try:
        if pa.types.is_temporal(table[column].type):
            raise pa.ArrowInvalid("a time is no number")
        return table[column].cast(kind).to_numpy()
    except pa.ArrowException:
        raise ValueError(f"{file} has {table[column].type} in column {column!r}, not {kind}") from None


def matching(file: str, digest: str, labels: np.ndarray) -> np.ndarray:
    """The scores in ``file``; ValueError if it is not the one of that digest, or not about samples of these labels."""
    content = fetch(file)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(
            f"{file} has changed: its digest is {found}, not {digest}; bring the old file back, or run the sweep anew "
            "with the new one"
        )
    their_labels, scores = parse(content, file)
    if len(scores) != len(labels):
        raise ValueError(f"{file} has scores of {len(scores)} samples, the training set has {len(labels)}")
    other = np.flatnonzero(their_labels != labels)
    if len(other):
        raise ValueError(
            f"{file} has label {their_labels[other[0]]} for sample {other[0]}, the training set has "
            f"{labels[other[0]]}, and so for {len(other)} of {len(labels)}: these are scores of other data"
        )
    return scores


@cache
def digest_of(file: str, size: int, modified: int) -> str:
    """SHA-256 of a whole file of scores; read once a process, for all trials of a sweep."""
    content = fetch(file)
    parse(content, file)
    return hashlib.sha256(content).hexdigest()


@difficulties.register
class Scores(Selection, FileBacked):
    """The samples that the scores in your own Parquet file call hardest."""

    name: Literal["scores"] = "scores"
    path_fields = frozenset({"file"})
    file: str = Field(description="Parquet with sample, label, score; absolute, with ~ or a URI; no part of the id")
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file; taken from it if not given")

    @model_validator(mode="before")
    @classmethod
    def _take_digest(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("file"), str):
            return data
        file = data["file"]
        try:
            if "://" not in file and not expand_home(file).is_absolute():
                raise ValueError(f"{file} is relative; give it from / or ~ on, to mean the same everywhere")
            if data.get("digest") is not None:
                return data
            filesystem, path = resolve_storage(file)
            info = filesystem.get_file_info(path)
            return {**data, "digest": digest_of(file, info.size or 0, info.mtime_ns or 0)}
        except (ValueError, OSError) as error:
            why = " ".join(str(error).split())
            raise SpecError("file", why) from None

    def scores(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        """float64 [N]; ValueError if the file is another than it was, or holds scores of other data."""
        try:
            return torch.from_numpy(matching(self.file, self.digest, labels.numpy()))
        except ValueError as error:
            raise SpecError("difficulty.file", f"{error}") from None
