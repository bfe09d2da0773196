"""Removal of damaged or incomplete results before a resume, so that their trials run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store

TABLES = ("trials", "epochs", "layers")
"""Tables of a finished trial. The row in the first table marks the trial as finished, so it is removed first."""


def remove_damaged_results(runs: Mapping[str, RunSpec], store: Store) -> list[str]:
    """Remove the results of all trials with a damaged file or with missing rows.

    Reads the ``trials`` table completely, with checksums. Of the longer tables, reads only the columns that show
    whether every epoch and every layer has a row.

    Args:
        runs: Runs of a sweep by id.
        store: The storage.

    Returns:
        Sorted ids of the removed trials.
    """
    trials, paths = tables.read_table(store.storage, "trials", runs)
    epochs, cut_epochs = tables.read_table(store.storage, "epochs", runs, ["trial", "epoch"])
    layers, cut_layers = tables.read_table(store.storage, "layers", runs, ["trial", "position", "flops"])
    epoch_stats = _by_trial(epochs, "epoch", "min", "max", "count", "count_distinct")
    layer_stats = _by_trial(layers, "position", "max", "count_distinct", "count")
    flops = _by_trial(layers, "flops", "sum")
    damaged = {PurePosixPath(path).stem for path in (*paths, *cut_epochs, *cut_layers)} & runs.keys()
    for row in trials.select(["trial", "spec", "inference_flops"]).to_pylist():
        trial = row["trial"]
        spec = runs[trial]
        is_complete = (
            _is_spec(row["spec"])
            and isinstance(spec, TrialSpec)
            and epoch_stats.get(trial) == expected_epochs(spec)
            and _is_network(layer_stats.get(trial), flops.get(trial, [None])[0], row["inference_flops"])
        )
        if not is_complete:
            damaged.add(trial)
    for trial in damaged:
        for table in TABLES:
            store.delete(store.result_path(table, trial))
    return sorted(damaged)


def remove_damaged_outcomes(runs: Mapping[str, RunSpec], store: Store) -> list[str]:
    """Remove damaged files of outcomes. Each is read completely, with checksums, and not kept in memory.

    Args:
        runs: Runs of a sweep by id.
        store: The storage.

    Returns:
        Sorted names of the removed files: ``TRIAL-SPLIT``.
    """
    infos = [info for info in tables.list_files(store.storage, "outcomes") if tables.trial_in_file_name(info) in runs]
    with ThreadPoolExecutor() as readers:
        damaged = [info for info, whole in zip(infos, readers.map(_is_whole(store), infos), strict=True) if not whole]
    names = sorted(PurePosixPath(info.path).stem for info in damaged)
    for name in names:
        trial, _, split = name.partition("-")
        store.delete(store.outcomes_path(trial, split))
    return names


def _is_whole(store: Store) -> Callable[[fs.FileInfo], bool]:
    """Return a function that tells whether a file of outcomes has rows of one split, each sample once."""
    wanted = tables.make_selection("outcomes")

    def check(info: fs.FileInfo) -> bool:
        rows, damaged = tables.read_files(store.storage, "outcomes", [info], wanted)
        split = PurePosixPath(info.path).stem.partition("-")[2]
        samples = rows["sample"]
        return (
            not damaged
            and len(rows) > 0
            and pc.unique(rows["split"]).to_pylist() == [split]
            and pc.count_distinct(samples, mode="all").as_py() == len(samples) - samples.null_count
        )

    return check


def _by_trial(table: pa.Table, column: str, *functions: str) -> dict[str, list[Any]]:
    """Return the results of Arrow's aggregation ``functions`` of ``column`` for each trial."""
    grouped = table.group_by("trial").aggregate([(column, function) for function in functions])
    names = [f"{column}_{function}" for function in functions]
    return {row["trial"]: [row[name] for name in names] for row in grouped.to_pylist()}


def expected_epochs(spec: TrialSpec) -> list[int]:
    """Return the first epoch, last epoch, number of rows and number of distinct epochs of a complete trial."""
    last = spec.recipe.epochs
    return [last - spec.num_epochs + 1, last, spec.num_epochs, spec.num_epochs]


def _is_network(positions: list[int] | None, flops: float | None, in_all: float | None) -> bool:
    """Return whether every layer has a row: positions start at 0, and the FLOPs of all layers sum to the network's.

    Tables of the first version may have no FLOPs.
    """
    if positions is None or None in positions:
        return False
    last, *counts = positions
    if flops is not None and in_all is not None and not math.isclose(flops, in_all, rel_tol=1e-9):
        return False
    return counts == [last + 1, last + 1]


def _is_spec(text: str | None) -> bool:
    content = tables.parse_json(text)
    return isinstance(content, dict) and content.keys() >= {"kind", "spec"}
