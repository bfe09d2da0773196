"""Hard samples by a user's scores: a Parquet file with the columns ``sample``, ``label`` and ``score``.

``sample`` is the index of a training image, from 0 in the order of the data set, each once. ``label`` is its class: a
check against scores of another data set or order. Larger scores are harder. Infinite scores are allowed. Scoring runs
write files in this format (``artifacts/scores/RUN-SCORE.parquet``), which can be used, averaged or edited.

The trial id contains the SHA-256 digest of the file, not its path. If it is not given, the digest is computed when the
sweep is read. It is verified whenever a trial selects its samples. The selection runs on the worker: every node must be
able to read the file under the same path (s3:// and gs:// paths work).
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
from sparsweep.trainables.specs.base import PartlyHashed, SpecError, shortened
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.addresses import resolve_storage
from sparsweep.trainables.storage.filesystem import expand_home
from sparsweep.trainables.storage.user_files import read_user_file

COLUMNS = ["sample", "label", "score"]
MOST_SAMPLES = 10**8
"""Maximum number of rows: a small file can unpack to any number of rows."""


def fetch(file: str) -> bytes:
    """Return the content of ``file``, a local path or an address.

    Raises:
        ValueError: The file cannot be read.
    """
    try:
        return read_user_file(file)
    except FileNotFoundError:
        raise ValueError(f"{file} not found on this node") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from None


def parse(content: bytes, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse a file of scores.

    Args:
        content: Content of the file.
        file: Name of the file, for errors.

    Returns:
        Labels (int64) and scores (float64) of the samples 0 to N-1.

    Raises:
        ValueError: The content is not a valid file of scores.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as parquet:
            rows, names = parquet.metadata.num_rows, parquet.schema_arrow.names
            for column in COLUMNS:
                if names.count(column) != 1:
                    count = "several columns" if column in names else "no column"
                    raise ValueError(f"{file} has {count} {column!r} (got {shortened(', '.join(names))})")
            if rows > MOST_SAMPLES:
                raise ValueError(f"{file} has {rows:,} rows; the maximum is {MOST_SAMPLES:,}")
            table = parquet.read(COLUMNS)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is not a valid Parquet file: {shortened(str(error))}") from None
    samples, labels = (_integers(table, column, file) for column in ("sample", "label"))
    missing = np.setdiff1d(np.arange(len(samples)), samples)
    if len(missing):
        raise ValueError(f"{file} has no sample {missing[0]}; each from 0 to {len(samples) - 1} must occur once")
    order = samples.argsort()
    scores = _column(table, "score", pa.float64(), file)[order]
    if np.isnan(scores).any():
        raise ValueError(f"{file} has a null or NaN score for sample {np.flatnonzero(np.isnan(scores))[0]}")
    return labels[order], scores


def _integers(table: pa.Table, column: str, file: str) -> np.ndarray:
    if table[column].null_count:
        raise ValueError(f"{file} has {table[column].null_count} null values in column {column!r}")
    return _column(table, column, pa.int64(), file)


def _column(table: pa.Table, column: str, kind: pa.DataType, file: str) -> np.ndarray:
    try:
        if pa.types.is_temporal(table[column].type):
            raise pa.ArrowInvalid("a time is not a number")
        return table[column].cast(kind).to_numpy()
    except pa.ArrowException:
        raise ValueError(f"{file} has {table[column].type} in column {column!r}, not {kind}") from None


def matching(file: str, digest: str, labels: np.ndarray) -> np.ndarray:
    """Return the scores in ``file`` after a check of its digest and its labels.

    Args:
        file: Path or address.
        digest: Expected SHA-256 of the file.
        labels: int64 ``(N,)``, labels of the training set.

    Raises:
        ValueError: The file has changed, or its scores belong to another data set.
    """
    content = fetch(file)
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        raise ValueError(
            f"{file} has changed: its digest is {actual}, not {digest}. Restore the old file, or start the sweep again."
        )
    file_labels, scores = parse(content, file)
    if len(scores) != len(labels):
        raise ValueError(f"{file} has scores of {len(scores)} samples; the training set has {len(labels)}")
    different = np.flatnonzero(file_labels != labels)
    if len(different):
        raise ValueError(
            f"{file} has label {file_labels[different[0]]} for sample {different[0]}; the training set has "
            f"{labels[different[0]]}. {len(different)} of {len(labels)} labels differ: the scores are of other data."
        )
    return scores


@cache
def digest_of(file: str, size: int, modified: int) -> str:
    """Return the SHA-256 of a file of scores. The cache reads each file once per process.

    Args:
        file: Path or address.
        size: Size of the file in bytes, part of the cache key.
        modified: Time of the last change in ns, part of the cache key.
    """
    content = fetch(file)
    parse(content, file)
    return hashlib.sha256(content).hexdigest()


@difficulties.register
class Scores(Selection, PartlyHashed):
    """Samples with the highest scores in a user's Parquet file."""

    name: Literal["scores"] = "scores"
    unhashed = frozenset({"file"})
    file: str = Field(
        description="Parquet file with sample, label, score: absolute path, ~ or address; not part of the id"
    )
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file; computed if missing")

    @model_validator(mode="before")
    @classmethod
    def _take_digest(cls, data: Any) -> Any:
        """Compute the digest of the file if it is not given."""
        if not isinstance(data, Mapping) or not isinstance(data.get("file"), str):
            return data
        file = data["file"]
        try:
            if "://" not in file and not expand_home(file).is_absolute():
                raise ValueError(f"{file} is relative. Set an absolute path, or one from ~ on.")
            if data.get("digest") is not None:
                return data
            filesystem, path = resolve_storage(file)
            info = filesystem.get_file_info(path)
            return {**data, "digest": digest_of(file, info.size or 0, info.mtime_ns or 0)}
        except (ValueError, OSError) as error:
            raise SpecError("file", " ".join(str(error).split())) from None

    def scores(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        try:
            return torch.from_numpy(matching(self.file, self.digest, labels.numpy()))
        except ValueError as error:
            raise SpecError("difficulty.file", f"{error}") from None
