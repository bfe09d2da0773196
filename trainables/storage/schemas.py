"""Schemas of the result tables: columns, types, units and descriptions.

Accuracies are fractions in [0, 1]. A value that does not apply or was not measured is null, never 0.

A table is a folder of Parquet files: one file per trial, until ``compact`` merges them. pandas, DuckDB and Polars can
read the folder at any time: each file is written under a name that starts with ``_``, then renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TABLES_VERSION = 5
"""Version in the metadata of every file. Increase it when a column is added, or its meaning or type changes."""

VERSION_KEY = b"sparsweep.tables"

TEXT, INT, FLOAT, TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")
SAMPLE, CLASS, SINGLE = pa.int32(), pa.uint16(), pa.float32()


def _schema(columns: Iterable[tuple[str, pa.DataType, str]]) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    return pa.schema(fields, metadata={VERSION_KEY: str(TABLES_VERSION)})


SCHEMAS: dict[str, pa.Schema] = {
    "trials": _schema(
        [
            ("trial", TEXT, "id: the first 16 hex digits of the SHA-256 of the spec"),
            ("sweep", TEXT, "name of the sweep that trained the trial (other sweeps can share it)"),
            ("dataset", TEXT, "name of the data set"),
            ("model", TEXT, "name of the network"),
            ("sparsifier", TEXT, "name of the method"),
            ("sparsity", FLOAT, "target fraction of maskable weights that is masked (zero)"),
            ("density", FLOAT, "achieved fraction of maskable weights that is active"),
            ("difficulty", TEXT, "how the training data was made hard; stages of a composed difficulty joined by +"),
            ("data_ratio", FLOAT, "fraction of the training set used"),
            ("seed", INT, "seed of the trial"),
            ("profile", TEXT, "fidelity profile"),
            (
                "comparison",
                TEXT,
                "digest of the spec without sparsifier, sparsity and seed; equal if comparable",
            ),
            ("epochs", INT, "number of training epochs"),
            ("steps", INT, "number of optimizer steps"),
            ("mask_updates", INT, "number of mask updates during training"),
            ("test_accuracy", FLOAT, "final test accuracy under the difficulty (see the file of the difficulty)"),
            ("clean_accuracy", FLOAT, "final accuracy on the clean test set"),
            ("corrupted_accuracy", FLOAT, "final accuracy on the corrupted test set"),
            ("robust_accuracy", FLOAT, "final accuracy under attack"),
            ("autoattack_accuracy", FLOAT, "final accuracy under AutoAttack"),
            ("validation_accuracy", FLOAT, "final accuracy on the images held out of the training set"),
            ("nll", FLOAT, "mean cross-entropy of the images of test_accuracy, in nats"),
            ("brier", FLOAT, "mean squared distance between probabilities and label, in [0, 2]"),
            ("ece", FLOAT, "expected calibration error, 15 bins of equal width"),
            ("adaptive_ece", FLOAT, "expected calibration error, 15 bins of equal size"),
            ("aurc", FLOAT, "area under the curve of error rate over coverage, by confidence"),
            ("worst_class_accuracy", FLOAT, "lowest accuracy of a class on the images of test_accuracy"),
            ("mean_corruption_accuracy", FLOAT, "mean accuracy over the types and severities of the table shifts"),
            ("ood_auroc_confidence", FLOAT, "auroc_confidence of the table ood"),
            ("ood_auroc_energy", FLOAT, "auroc_energy of the table ood"),
            ("train_accuracy", FLOAT, "accuracy on the augmented batches of the last epoch"),
            ("fit_accuracy", FLOAT, "final accuracy on the training samples, in evaluation mode, without augmentation"),
            ("late_gain", FLOAT, "trend of test_accuracy over the last quarter of training; null: too few evaluations"),
            (
                "undertrained",
                pa.bool_(),
                "whether the training was too short (trainables/training/convergence.py); null: unknown",
            ),
            (
                "epochs_to_fit",
                INT,
                "extrapolated number of epochs to fit the training samples; null: fitted or unknown",
            ),
            ("train_loss", FLOAT, "mean loss per sample in the last epoch: cross-entropy, or the loss of TRADES"),
            ("parameters", INT, "number of parameters of the network"),
            ("nonzero_parameters", INT, "number of parameters that are not masked"),
            (
                "train_flops",
                FLOAT,
                "training FLOPs at the actual layer densities: 3 forward passes per step, more with an attack",
            ),
            ("inference_flops", FLOAT, "forward FLOPs per image at the final layer densities"),
            ("prerequisite_flops", FLOAT, "train_flops of all prerequisite trials, their prerequisites included"),
            ("scoring_flops", FLOAT, "FLOPs of the scoring runs that ranked the samples (shared between trials)"),
            ("exploration_rate", FLOAT, "fraction of maskable weights that was ever active"),
            ("mask_overlap", FLOAT, "fraction of the finally active weights that was active initially"),
            ("seconds", FLOAT, "wall time of training and evaluation"),
            ("images_per_second", FLOAT, "training images per second of training, without evaluation"),
            ("device", TEXT, "device of the run"),
            ("threads", INT, "number of CPU threads (the last bits of a result depend on it)"),
            ("started_at", TIME, "start of the attempt that finished"),
            ("finished_at", TIME, "end of that attempt"),
            ("commit", TEXT, "git commit of the code, null outside a checkout"),
            ("versions", TEXT, "JSON: versions of Python and the libraries"),
            ("code", TEXT, "JSON: version and source digest of each module used"),
            ("samples", INT, "number of training samples used"),
            ("dataset_parameters", TEXT, "JSON: the fields of the data set"),
            ("model_parameters", TEXT, "JSON: the fields of the network"),
            ("sparsifier_parameters", TEXT, "JSON: the fields of the method"),
            ("difficulty_parameters", TEXT, "JSON: the fields of the difficulty"),
            ("step_budget", INT, "recipe: number of optimizer steps; null if the length is in epochs"),
            ("batch_size", INT, "recipe: number of samples per step"),
            ("optimizer", TEXT, "recipe: sgd or adamw"),
            ("lr", FLOAT, "recipe: highest learning rate"),
            ("schedule", TEXT, "recipe: course of the learning rate: steps, cosine, linear or one_cycle"),
            ("warmup", FLOAT, "recipe: share of training in which the learning rate rises"),
            (
                "milestones",
                TEXT,
                "recipe: JSON list of fractions of training at which lr falls; null: other schedule",
            ),
            ("gamma", FLOAT, "recipe: factor on lr at each milestone"),
            ("momentum", FLOAT, "recipe: momentum of SGD; null: AdamW"),
            ("nesterov", pa.bool_(), "recipe: use Nesterov momentum"),
            ("beta1", FLOAT, "recipe: decay of the mean gradient of AdamW; null: SGD"),
            ("beta2", FLOAT, "recipe: decay of the mean squared gradient of AdamW; null: SGD"),
            ("epsilon", FLOAT, "recipe: term of AdamW that avoids a division by 0; null: SGD"),
            ("weight_decay", FLOAT, "recipe: L2 penalty in the gradient (SGD), or decoupled decay (AdamW)"),
            ("crop_padding", INT, "recipe: pixels of padding before a random crop"),
            ("flip", pa.bool_(), "recipe: mirror each image with probability 1/2"),
            ("rotation", FLOAT, "recipe: maximum angle of a random rotation in degrees"),
            ("drop_last", pa.bool_(), "recipe: drop an incomplete last batch"),
            ("precision", TEXT, "recipe: fp32 or bf16"),
            ("evaluation_every", INT, "number of epochs between two evaluations"),
            ("spec", TEXT, "JSON: the complete specification"),
        ]
    ),
    "epochs": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("epoch", INT, "number of the epoch, counted from 1; values are those at its end"),
            ("lr", FLOAT, "learning rate of the first step of the epoch"),
            ("train_loss", FLOAT, "mean loss per sample in the epoch"),
            ("train_accuracy", FLOAT, "accuracy on the augmented batches of the epoch"),
            ("test_accuracy", FLOAT, "test accuracy under the difficulty, null if not evaluated"),
            ("validation_accuracy", FLOAT, "accuracy on held-out training images, null if not evaluated"),
            ("robust_accuracy", FLOAT, "accuracy under attack, null if not evaluated"),
            ("density", FLOAT, "fraction of maskable weights that is active"),
            ("seconds", FLOAT, "wall time of the epoch"),
        ]
    ),
    "layers": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("layer", TEXT, "name of the weight"),
            ("position", INT, "index in network order, counted from 0"),
            ("kind", TEXT, "conv or linear"),
            ("weights", INT, "number of weights"),
            ("nonzero", INT, "number of active weights at the end"),
            ("density", FLOAT, "nonzero / weights"),
            ("flops", FLOAT, "forward FLOPs per image at that density"),
            ("explored", FLOAT, "fraction of the weights that was ever active"),
            (
                "initial_overlap",
                FLOAT,
                "fraction of the finally active weights that was active initially; null if none is active",
            ),
        ]
    ),
    "outcomes": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("split", TEXT, "images: test (those of test_accuracy), clean, corrupted, validation, robust or train"),
            ("sample", SAMPLE, "index of the image in the data set, the same in all trials"),
            ("label", CLASS, "class of the image, after label noise"),
            ("prediction", CLASS, "class with the highest logit"),
            ("confidence", SINGLE, "probability of the prediction"),
            ("label_probability", SINGLE, "probability of the label"),
            ("loss", SINGLE, "cross-entropy of the label in nats, at most 65504"),
            ("correct", pa.bool_(), "whether the prediction is the label"),
        ]
    ),
    "shifts": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("type", TEXT, "type of the corruption of the test images"),
            ("severity", INT, "severity of the corruption; 0: newly collected images, no corruption"),
            ("accuracy", FLOAT, "accuracy on these images"),
            ("loss", FLOAT, "mean cross-entropy on these images, in nats"),
            ("images", TEXT, "id of the run that made the images"),
        ]
    ),
    "ood": _schema(
        [
            ("trial", TEXT, "id of the trial"),
            ("dataset", TEXT, "name of the out-of-distribution data set"),
            ("auroc_confidence", FLOAT, "AUROC of clean test images over these, by the maximum softmax probability"),
            ("auroc_energy", FLOAT, "AUROC of clean test images over these, by the negative energy"),
            ("images", TEXT, "id of the run that wrote the images"),
        ]
    ),
    "memberships": _schema(
        [
            ("trial", TEXT, "id of a trial, finished or not"),
            ("sweep", TEXT, "name of a sweep that contains the trial (any sweep can have trained it)"),
        ]
    ),
    "failures": _schema(
        [
            ("trial", TEXT, "id of the trial or scoring run"),
            ("sweep", TEXT, "name of the sweep that ran it"),
            ("error", TEXT, "class of the error"),
            ("message", TEXT, "message of the error"),
            ("traceback", TEXT, "traceback of the error"),
            ("attempt", INT, "number of this failure of the trial, counted from 1"),
            ("node", TEXT, "host name of the node"),
            ("at", TIME, "time of the failure"),
        ]
    ),
}


def build_table(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table with the declared schema.

    Args:
        table: Name of the table.
        rows: Values by column name.

    Raises:
        KeyError: A row lacks a declared column, or has a column that is not declared.
    """
    schema, rows = SCHEMAS[table], list(rows)
    for row in rows:
        if row.keys() != set(schema.names):
            raise KeyError(f"{table}: columns {sorted(row.keys() ^ set(schema.names))} are missing or not declared")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


_WITH_DIGEST = r"{trial}-[0-9a-f]{16}"
FILE_NAMES = {"failures": r"{trial}(-\d+)?", "outcomes": r"{trial}-[a-z]+", "shifts": _WITH_DIGEST, "ood": _WITH_DIGEST}
"""Patterns of the names of a trial's files in a table, without the extension. Default: the id of the trial."""

PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
OUTCOME_OPTIONS: dict[str, Any] = {
    **PARQUET_OPTIONS,
    "use_dictionary": ["trial", "split", "label", "prediction"],
    "column_encoding": {"sample": "DELTA_BINARY_PACKED"},
}


def file_pattern(table: str, trial: str = "[0-9a-f]{16}") -> str:
    """Return the pattern of the names of a trial's files in ``table``.

    Args:
        table: Name of the table.
        trial: Id, or a pattern of ids.
    """
    return FILE_NAMES.get(table, "{trial}").replace("{trial}", trial) + r"\.parquet"


def as_stored(outcomes: pa.Table) -> pa.Table:
    """Return a table ``outcomes`` with 16-bit probabilities and losses. Readers convert them back to 32 bits."""
    for index, field in enumerate(outcomes.schema):
        if field.type == SINGLE:
            outcomes = outcomes.set_column(
                index, field.with_type(pa.float16()), outcomes.column(index).cast(pa.float16())
            )
    return outcomes


def to_parquet(table: pa.Table) -> bytes:
    """Return the bytes of a Parquet file with page checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS)
    return bytes(sink.getvalue().to_pybytes())


def outcomes_to_parquet(outcomes: pa.Table) -> bytes:
    """Return the bytes of a Parquet file of the table ``outcomes`` (see :func:`as_stored`)."""
    sink = pa.BufferOutputStream()
    pq.write_table(as_stored(outcomes), sink, **OUTCOME_OPTIONS)
    return bytes(sink.getvalue().to_pybytes())
