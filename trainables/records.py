"""The result tables: their columns, types and units, and where in a storage they lie.

Every table is a folder of Parquet files, one a trial until compacted, that pandas, DuckDB and Polars read at any
moment: a file appears whole or not at all, and names that begin with ``_`` are files being written.
Accuracies are fractions in [0, 1]; what does not apply or was not measured is null, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

TABLES_VERSION = 2
"""Stored in the metadata of every file; raised when a column is added or changes its meaning or type."""

VERSION_KEY = b"sparsweep.tables"

_text, _whole, _real, _time = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")


def _schema(columns: Iterable[tuple[str, pa.DataType, str]]) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    return pa.schema(fields, metadata={VERSION_KEY: str(TABLES_VERSION)})


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
            ("epochs", _whole, "epochs trained"),
            ("test_accuracy", _real, "final accuracy that the experiment is about (see the difficulty's file)"),
            ("clean_accuracy", _real, "final accuracy on the clean test set"),
            ("corrupted_accuracy", _real, "final accuracy on the corrupted test set"),
            ("robust_accuracy", _real, "final accuracy under attack"),
            ("autoattack_accuracy", _real, "final accuracy under AutoAttack"),
            ("validation_accuracy", _real, "final accuracy on the images held out of the training set"),
            ("train_accuracy", _real, "accuracy over the last epoch's augmented batches"),
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
            ("started_at", _time, "start of the attempt that finished"),
            ("finished_at", _time, "end"),
            ("commit", _text, "git commit of the code, null outside a checkout"),
            ("versions", _text, "JSON: versions of Python and the libraries that computed the result"),
            ("samples", _whole, "training samples used"),
            ("dataset_parameters", _text, "JSON: the fields of the data set"),
            ("model_parameters", _text, "JSON: the fields of the network"),
            ("sparsifier_parameters", _text, "JSON: the fields of the method"),
            ("difficulty_parameters", _text, "JSON: the fields of the difficulty"),
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
