"""The result tables: their columns, types and units, and where in a storage they lie.

Every table is a folder of Parquet files, one a trial until compacted, that pandas, DuckDB and Polars read at any
moment: a file appears whole or not at all, and names that begin with ``_`` are files being written.
Accuracies are fractions in [0, 1]; what does not apply or was not measured is null, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

TABLES_VERSION = 3
"""Stored in the metadata of every file; raised when a column is added or changes its meaning or type."""

_VERSION = b"sparsweep.tables"

_text, _whole, _real, _time = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")


def _schema(columns: Iterable[tuple[str, pa.DataType, str]]) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    return pa.schema(fields, metadata={_VERSION: str(TABLES_VERSION)})


TABLES: dict[str, pa.Schema] = {
    "trials": _schema(
        [
            ("trial", _text, "id: the first 16 hex digits of the SHA-256 of the spec"),
            ("sweep", _text, "the sweep that trained it (others may share it)"),
            ("dataset", _text, "name of the data set"),
            ("model", _text, "name of the network"),
            ("sparsifier", _text, "name of the method"),
            ("sparsity", _real, "asked fraction of maskable weights that is zero"),
            ("density", _real, "achieved fraction of maskable weights that is not masked"),
            ("difficulty", _text, "how the training data was made hard; the parts of a composed one joined by +"),
            ("data_ratio", _real, "fraction of the training set used"),
            ("seed", _whole, "the replicate"),
            ("profile", _text, "bundle of fidelity choices"),
            ("comparison", _text, "digest of the spec but for sparsifier, sparsity and seed: equal where comparable"),
            ("epochs", _whole, "epochs of the whole training"),
            ("steps", _whole, "optimizer steps of the whole training"),
            ("mask_updates", _whole, "times that the method changed its masks while training"),
            ("test_accuracy", _real, "final accuracy that the experiment is about (see the difficulty's file)"),
            ("clean_accuracy", _real, "final accuracy on the clean test set"),
            ("corrupted_accuracy", _real, "final accuracy on the corrupted test set"),
            ("robust_accuracy", _real, "final accuracy under attack"),
            ("autoattack_accuracy", _real, "final accuracy under AutoAttack"),
            ("validation_accuracy", _real, "final accuracy on the images held out of the training set"),
            ("train_accuracy", _real, "accuracy over the last epoch's augmented batches"),
            ("fit_accuracy", _real, "final accuracy on its own training samples, in evaluation mode, not augmented"),
            ("late_gain", _real, "trend of test_accuracy over the last quarter of training; null: too few evaluations"),
            (
                "undertrained",
                pa.bool_(),
                "whether it was trained too little (trainables/convergence.py); null: unknown",
            ),
            (
                "epochs_to_fit",
                _whole,
                "epochs that fitting its samples would take, extrapolated; null: fitted or unknown",
            ),
            ("train_loss", _real, "mean loss over the last epoch's samples: cross-entropy, with TRADES its own"),
            ("parameters", _whole, "all parameters of the network"),
            ("nonzero_parameters", _whole, "parameters that are not masked"),
            (
                "train_flops",
                _real,
                "FLOPs of training at the actual layer densities: 3 forward passes a step, or an attack's",
            ),
            ("inference_flops", _real, "forward FLOPs of one image at the final layer densities"),
            ("prerequisite_flops", _real, "train_flops of the trials that it started from, theirs included"),
            ("scoring_flops", _real, "FLOPs of the scoring runs that ranked its samples, shared by all that use them"),
            ("exploration_rate", _real, "fraction of maskable weights that was ever active"),
            ("mask_overlap", _real, "fraction of the final weights that the initial mask had too"),
            ("seconds", _real, "wall time of training and evaluation"),
            ("images_per_second", _real, "training images over the seconds of training alone"),
            ("device", _text, "device it ran on"),
            ("threads", _whole, "CPU threads it ran with, on which last bits depend"),
            ("started_at", _time, "start of the attempt that finished"),
            ("finished_at", _time, "end"),
            ("commit", _text, "git commit of the code, null outside a checkout"),
            ("versions", _text, "JSON: versions of Python and the libraries that computed the result"),
            ("samples", _whole, "training samples used"),
            ("dataset_parameters", _text, "JSON: the fields of the data set"),
            ("model_parameters", _text, "JSON: the fields of the network"),
            ("sparsifier_parameters", _text, "JSON: the fields of the method"),
            ("difficulty_parameters", _text, "JSON: the fields of the difficulty"),
            ("step_budget", _whole, "recipe: optimizer steps; null where its length is given in epochs"),
            ("batch_size", _whole, "recipe: samples a step"),
            ("lr", _real, "recipe: initial learning rate"),
            ("milestones", _text, "recipe: JSON list of shares of training at which lr is scaled"),
            ("gamma", _real, "recipe: factor on lr at a milestone"),
            ("momentum", _real, "recipe: momentum of SGD"),
            ("nesterov", pa.bool_(), "recipe: Nesterov momentum"),
            ("weight_decay", _real, "recipe: L2 penalty in the gradient"),
            ("crop_padding", _whole, "recipe: pixels around an image before a random crop"),
            ("flip", pa.bool_(), "recipe: half of the images mirrored"),
            ("rotation", _real, "recipe: largest angle of a random rotation in degrees"),
            ("drop_last", pa.bool_(), "recipe: an incomplete last batch is left out"),
            ("precision", _text, "recipe: fp32 or bf16"),
            ("evaluation_every", _whole, "epochs between two evaluations"),
            ("spec", _text, "JSON: the whole specification"),
        ]
    ),
    "epochs": _schema(
        [
            ("trial", _text, "id of the trial"),
            ("epoch", _whole, "counted from 1: values are those at its end"),
            ("lr", _real, "learning rate during the epoch"),
            ("train_loss", _real, "mean loss over the epoch's samples"),
            ("train_accuracy", _real, "accuracy over the epoch's augmented batches"),
            ("test_accuracy", _real, "accuracy that the experiment is about, null where not evaluated"),
            ("validation_accuracy", _real, "accuracy on held-out training images, null where not evaluated"),
            ("robust_accuracy", _real, "accuracy under attack, null where not evaluated"),
            ("density", _real, "fraction of maskable weights that is not masked"),
            ("seconds", _real, "wall time of the epoch"),
        ]
    ),
    "layers": _schema(
        [
            ("trial", _text, "id of the trial"),
            ("layer", _text, "name of the weight"),
            ("position", _whole, "counted from 0 in the order of the network"),
            ("kind", _text, "conv or linear"),
            ("weights", _whole, "number of weights"),
            ("nonzero", _whole, "weights that are not masked at the end"),
            ("density", _real, "nonzero over weights"),
            ("flops", _real, "forward FLOPs of one image at that density"),
            ("explored", _real, "fraction of the weights that was ever active"),
            (
                "initial_overlap",
                _real,
                "fraction of the final weights that the initial mask had; null if none is left",
            ),
        ]
    ),
    "failures": _schema(
        [
            ("trial", _text, "id of the trial or scoring run"),
            ("sweep", _text, "the sweep that ran it"),
            ("error", _text, "class of the error"),
            ("message", _text, "its message"),
            ("traceback", _text, "its traceback"),
            ("attempt", _whole, "which failure of this trial it is, from 1"),
            ("node", _text, "host that it ran on"),
            ("at", _time, "when"),
        ]
    ),
}


def resolve(storage: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the absolute root of a storage.

    Args:
        storage: A local path, or a URI such as ``s3://bucket/folder``.

    Raises:
        ValueError: ``storage`` is empty: it would stand for whatever folder the process is in.
    """
    if not storage.strip():
        raise ValueError(f"storage is empty (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    if "://" in storage:
        filesystem, root = fs.FileSystem.from_uri(storage)
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), str(Path(storage).expanduser().resolve())


def table_folder(root: str, table: str) -> str:
    return f"{root}/results/{table}"


def build(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the declared schema; KeyError on a column that is not declared or not given."""
    schema, rows = TABLES[table], list(rows)
    for row in rows:
        if row.keys() != set(schema.names):
            raise KeyError(f"{table}: columns {sorted(row.keys() ^ set(schema.names))} are missing or not declared")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


class NewerTables(ValueError):
    """A file was written by a later version of this software, whose columns may mean something else."""


Filters = Sequence[Sequence[tuple[str, str, Any]]]
"""Alternatives, each of conditions that a row must all meet: ``[[("sparsity", ">=", 0.8)]]``, as pyarrow has them."""


def read(
    storage: str,
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> tuple[pa.Table, list[str]]:
    """The rows of ``table`` (only ``trials``, ``columns`` and what meets ``filters``), and the files that are damaged.

    A damaged file costs its own rows, not the others. Columns that an older file does not have are null. ValueError
    on a column that is not declared; :class:`NewerTables` on a file of a later version.
    """
    wanted = None if trials is None else set(trials)
    infos = files(storage, table)
    if wanted is not None:  # a file of one trial bears its name, a failure's also the attempt
        infos = [info for info in infos if (owner := _owner(info)) is None or owner in wanted]
    return read_files(storage, table, infos, selection(table, wanted, columns, filters))


def files(storage: str, table: str) -> list[fs.FileInfo]:
    """The whole files of a table, by name; none if the table is not there."""
    filesystem, root = resolve(storage)
    folder = fs.FileSelector(table_folder(root, table), allow_not_found=True)
    infos = filesystem.get_file_info(folder)
    whole = [info for info in infos if info.extension == "parquet" and not info.base_name.startswith(("_", "."))]
    return sorted(whole, key=lambda info: info.path)


def _owner(info: fs.FileInfo) -> str | None:
    """The trial whose rows alone are in a file; None if its name does not say."""
    match = re.match(r"([0-9a-f]{16})(-|\.)", info.base_name)
    return match[1] if match else None


@dataclass(frozen=True)
class Selection:
    """Which ``columns`` of which rows: all, or those that meet ``where``, an expression over the columns ``asks``."""

    columns: tuple[str, ...]
    asks: tuple[str, ...] = ()
    where: pc.Expression | None = None


def selection(
    table: str,
    trials: Iterable[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
) -> Selection:
    """What to read of ``table``; ValueError that names the choices on a column that is not declared."""
    names = TABLES[table].names
    of_trials = [] if trials is None else [("trial", "in", set(trials))]
    groups = [[*group, *of_trials] for group in filters or [[]]]
    chosen, asks = tuple(columns or names), tuple(dict.fromkeys(name for group in groups for name, _, _ in group))
    check_columns(table, (*chosen, *asks))
    return Selection(chosen, asks, pq.filters_to_expression(groups) if asks else None)


def check_columns(table: str, names: Iterable[str]) -> None:
    """Raise ValueError, which names the choices, on a column that is not declared."""
    for name in names:
        if name not in TABLES[table].names:
            raise ValueError(f"{table}: unknown column {name!r}; choose from {', '.join(TABLES[table].names)}")


def read_files(storage: str, table: str, infos: Iterable[fs.FileInfo], wanted: Selection) -> tuple[pa.Table, list[str]]:
    """As :func:`read`, of the given files."""
    filesystem, _ = resolve(storage)

    def part(info: fs.FileInfo) -> pa.Table | str:
        try:
            return _read_file(filesystem, info.path, table, wanted)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
            return info.path

    with ThreadPoolExecutor(_READERS) as readers:  # Arrow reads outside Python's lock
        parts = list(readers.map(part, infos))
    whole = [found for found in parts if isinstance(found, pa.Table)]
    empty = TABLES[table].empty_table().select(wanted.columns)
    return pa.concat_tables([empty, *whole]), [found for found in parts if isinstance(found, str)]


_READERS = 8


def _read_file(filesystem: fs.FileSystem, path: str, table: str, wanted: Selection) -> pa.Table:
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        version = int((parquet.schema_arrow.metadata or {}).get(_VERSION, TABLES_VERSION))
        if version > TABLES_VERSION:
            raise NewerTables(
                f"{path}: tables of version {version}; this sparsweep reads up to {TABLES_VERSION}: update it"
            )
        # First what is asked about, so that of a file without such rows nothing else is read.
        if wanted.where is not None and not len(_columns(parquet, table, wanted.asks).filter(wanted.where)):
            return TABLES[table].empty_table().select(wanted.columns)
        found = _columns(parquet, table, tuple(dict.fromkeys((*wanted.columns, *wanted.asks))))
    return (found if wanted.where is None else found.filter(wanted.where)).select(wanted.columns)


def _columns(parquet: pq.ParquetFile, table: str, names: Sequence[str]) -> pa.Table:
    """The columns as declared; those that the file does not have are null."""
    there = set(parquet.schema_arrow.names)
    if "trial" not in there:
        raise pa.ArrowInvalid("not one of our tables: it has no column trial")
    found = parquet.read([name for name in names if name in there], use_threads=False)
    rows = parquet.metadata.num_rows
    fields = [TABLES[table].field(name) for name in names]
    schema = pa.schema(fields, metadata=TABLES[table].metadata)
    arrays = [found[f.name].cast(f.type) if f.name in there else pa.nulls(rows, f.type) for f in fields]
    return pa.table(arrays, schema=schema)


def read_scores(storage: str, runs: Iterable[str]) -> tuple[pa.Table, list[str]]:
    """Scores of the training samples by scoring ``runs``, and the files that are damaged.

    A row a run, score and sample: ``run``, ``name`` of the score, ``sample`` (index), ``label``, ``score``. Runs
    without scores are left out.
    """
    filesystem, root = resolve(storage)
    wanted, parts, damaged = set(runs), [_SCORES.empty_table()], []
    folder = fs.FileSelector(f"{root}/artifacts/scores", allow_not_found=True)
    for info in sorted(filesystem.get_file_info(folder), key=lambda info: info.path):
        run, _, name = info.base_name.removesuffix(".parquet").partition("-")
        if run not in wanted or not name or info.extension != "parquet":
            continue
        try:
            with filesystem.open_input_file(info.path) as file:
                found = pq.read_table(file, columns=["sample", "label", "score"], page_checksum_verification=True)
            columns = [pa.array([run] * len(found)), pa.array([name] * len(found)), *found.columns]
            parts.append(pa.table(columns, names=_SCORES.names).cast(_SCORES))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
            damaged.append(info.path)
    return pa.concat_tables(parts), damaged


_SCORES = pa.schema([("run", _text), ("name", _text), ("sample", _whole), ("label", _whole), ("score", _real)])
