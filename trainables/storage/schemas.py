"""The result tables: columns, types and units.

Accuracies are fractions in [0, 1]. A value that does not apply or was not measured is null, never 0.

A table is a folder of Parquet files, one per trial until they are compacted. pandas, DuckDB and Polars can read it at
any time: every file is renamed into place whole, and a name that begins with ``_`` is a file being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TABLES_VERSION = 4
"""Stored in the metadata of every file; raised when a column is added or changes its meaning or type."""

VERSION_KEY = b"sparsweep.tables"

TEXT, INT, FLOAT, TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")


def _schema(columns: Iterable[tuple[str, pa.DataType, str]]) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    return pa.schema(fields, metadata={VERSION_KEY: str(TABLES_VERSION)})


SCHEMAS: dict[str, pa.Schema] = {
    "trials": _schema(
        [
            ("trial", TEXT, "id: the first 16 hex digits of the SHA-256 of the spec"),
            ("sweep", TEXT, "the sweep that trained it (others may share it)"),
            ("dataset", TEXT, "name of the data set"),
            ("model", TEXT, "name of the network"),
            ("sparsifier", TEXT, "name of the method"),
            ("sparsity", FLOAT, "asked fraction of maskable weights that is zero"),
            ("density", FLOAT, "achieved fraction of maskable weights that is not masked"),
            ("difficulty", TEXT, "how the training data was made hard; the parts of a composed one joined by +"),
            ("data_ratio", FLOAT, "fraction of the training set used"),
            ("seed", INT, "the replicate"),
            ("profile", TEXT, "bundle of fidelity choices"),
            ("comparison", TEXT, "digest of the spec but for sparsifier, sparsity and seed: equal where comparable"),
            ("epochs", INT, "epochs of the whole training"),
            ("steps", INT, "optimizer steps of the whole training"),
            ("mask_updates", INT, "times that the method changed its masks while training"),
            ("test_accuracy", FLOAT, "final accuracy that the experiment is about (see the difficulty's file)"),
            ("clean_accuracy", FLOAT, "final accuracy on the clean test set"),
            ("corrupted_accuracy", FLOAT, "final accuracy on the corrupted test set"),
            ("robust_accuracy", FLOAT, "final accuracy under attack"),
            ("autoattack_accuracy", FLOAT, "final accuracy under AutoAttack"),
            ("validation_accuracy", FLOAT, "final accuracy on the images held out of the training set"),
            ("train_accuracy", FLOAT, "accuracy over the last epoch's augmented batches"),
            ("fit_accuracy", FLOAT, "final accuracy on its own training samples, in evaluation mode, not augmented"),
            ("late_gain", FLOAT, "trend of test_accuracy over the last quarter of training; null: too few evaluations"),
            (
                "undertrained",
                pa.bool_(),
                "whether it was trained too little (trainables/training/convergence.py); null: unknown",
            ),
            (
                "epochs_to_fit",
                INT,
                "epochs that fitting its samples would take, extrapolated; null: fitted or unknown",
            ),
            ("train_loss", FLOAT, "mean loss over the last epoch's samples: cross-entropy, with TRADES its own"),
            ("parameters", INT, "all parameters of the network"),
            ("nonzero_parameters", INT, "parameters that are not masked"),
            (
                "train_flops",
                FLOAT,
                "FLOPs of training at the actual layer densities: 3 forward passes a step, or an attack's",
            ),
            ("inference_flops", FLOAT, "forward FLOPs of one image at the final layer densities"),
            ("prerequisite_flops", FLOAT, "train_flops of the trials that it started from, theirs included"),
            ("scoring_flops", FLOAT, "FLOPs of the scoring runs that ranked its samples, shared by all that use them"),
            ("exploration_rate", FLOAT, "fraction of maskable weights that was ever active"),
            ("mask_overlap", FLOAT, "fraction of the final weights that the initial mask had too"),
            ("seconds", FLOAT, "wall time of training and evaluation"),
            ("images_per_second", FLOAT, "training images over the seconds of training alone"),
            ("device", TEXT, "device it ran on"),
            ("threads", INT, "CPU threads it ran with, on which last bits depend"),
            ("started_at", TIME, "start of the attempt that finished"),
            ("finished_at", TIME, "end"),
            ("commit", TEXT, "git commit of the code, null outside a checkout"),
            ("versions", TEXT, "JSON: versions of Python and the libraries that computed the result"),
            ("code", TEXT, "JSON: version and digest of the source of each module that it comes from"),
            ("samples", INT, "training samples used"),
            ("dataset_parameters", TEXT, "JSON: the fields of the data set"),
            ("model_parameters", TEXT, "JSON: the fields of the network"),
            ("sparsifier_parameters", TEXT, "JSON: the fields of the method"),
            ("difficulty_parameters", TEXT, "JSON: the fields of the difficulty"),
            ("step_budget", INT, "recipe: optimizer steps; null where its length is given in epochs"),
            ("batch_size", INT, "recipe: samples a step"),
            ("lr", FLOAT, "recipe: initial learning rate"),
            ("milestones", TEXT, "recipe: JSON list of shares of training at which lr is scaled"),
            ("gamma", FLOAT, "recipe: factor on lr at a milestone"),
            ("momentum", FLOAT, "recipe: momentum of SGD"),
            ("nesterov", pa.bool_(), "recipe: Nesterov momentum"),
            ("weight_decay", FLOAT, "recipe: L2 penalty in the gradient"),
            ("crop_padding", INT, "recipe: pixels around an image before a random crop"),
            ("flip", pa.bool_(), "recipe: half of the images mirrored"),
            ("rotation", FLOAT, "recipe: largest angle of a random rotation in degrees"),
            ("drop_last", pa.bool_(), "recipe: an incomplete last batch is left out"),
            ("precision", TEXT, "recipe: fp32 or bf16"),
            ("evaluation_every", INT, "epochs between two evaluations"),
            ("spec", TEXT, "JSON: the whole specification"),
        ]
    ),
    "epochs": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("epoch", INT, "counted from 1: values are those at its end"),
            ("lr", FLOAT, "learning rate during the epoch"),
            ("train_loss", FLOAT, "mean loss over the epoch's samples"),
            ("train_accuracy", FLOAT, "accuracy over the epoch's augmented batches"),
            ("test_accuracy", FLOAT, "accuracy that the experiment is about, null where not evaluated"),
            ("validation_accuracy", FLOAT, "accuracy on held-out training images, null where not evaluated"),
            ("robust_accuracy", FLOAT, "accuracy under attack, null where not evaluated"),
            ("density", FLOAT, "fraction of maskable weights that is not masked"),
            ("seconds", FLOAT, "wall time of the epoch"),
        ]
    ),
    "layers": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("layer", TEXT, "name of the weight"),
            ("position", INT, "counted from 0 in the order of the network"),
            ("kind", TEXT, "conv or linear"),
            ("weights", INT, "number of weights"),
            ("nonzero", INT, "weights that are not masked at the end"),
            ("density", FLOAT, "nonzero over weights"),
            ("flops", FLOAT, "forward FLOPs of one image at that density"),
            ("explored", FLOAT, "fraction of the weights that was ever active"),
            (
                "initial_overlap",
                FLOAT,
                "fraction of the final weights that the initial mask had; null if none is left",
            ),
        ]
    ),
    "memberships": _schema(
        [
            ("trial", TEXT, "id of a trial, finished or not"),
            ("sweep", TEXT, "name of a sweep that it belongs to, whoever trained it"),
        ]
    ),
    "failures": _schema(
        [
            ("trial", TEXT, "id of the trial or scoring run"),
            ("sweep", TEXT, "the sweep that ran it"),
            ("error", TEXT, "class of the error"),
            ("message", TEXT, "its message"),
            ("traceback", TEXT, "its traceback"),
            ("attempt", INT, "which failure of this trial it is, from 1"),
            ("node", TEXT, "host that it ran on"),
            ("at", TIME, "when"),
        ]
    ),
}


def build_table(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the declared schema; KeyError on a column that is not declared or not given."""
    schema, rows = SCHEMAS[table], list(rows)
    for row in rows:
        if row.keys() != set(schema.names):
            raise KeyError(f"{table}: columns {sorted(row.keys() ^ set(schema.names))} are missing or not declared")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def to_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file whose pages have checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())
