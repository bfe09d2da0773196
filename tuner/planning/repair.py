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


def remove_damaged_measurements(runs: Mapping[str, RunSpec], store: Store) -> list[str]:
    """Remove damaged files of the tables ``outcomes``, ``shifts`` and ``ood``. Each is read completely, with checksums.

    Args:
        runs: Runs of a sweep by id.
        store: The storage.

    Returns:
        Sorted paths of the removed files.
    """
    infos = [
        (table, info)
        for table in MEASUREMENTS
        for info in tables.list_files(store.storage, table)
        if tables.trial_in_file_name(info) in runs
    ]

    def is_whole(table: str, info: fs.FileInfo) -> bool:
        rows, damaged = tables.read_files(store.storage, table, [info], tables.make_selection(table))
        return not damaged and len(rows) > 0 and MEASUREMENTS[table](PurePosixPath(info.path).stem, rows)

    with ThreadPoolExecutor() as readers:
        whole = readers.map(is_whole, *zip(*infos, strict=True)) if infos else iter(())
        damaged = [(table, info) for (table, info), holds in zip(infos, whole, strict=True) if not holds]
    paths = sorted(store.result_path(table, PurePosixPath(info.path).stem) for table, info in damaged)
    for path in paths:
        store.delete(path)
    return paths


def _has_one_split(name: str, rows: pa.Table) -> bool:
    """Return whether ``rows`` of the file ``TRIAL-SPLIT`` have each sample of this split once."""
    distinct = pc.count_distinct(rows["sample"], mode="all").as_py()
    return pc.unique(rows["split"]).to_pylist() == [name.partition("-")[2]] and distinct == len(rows)


def _has_values(name: str, rows: pa.Table) -> bool:
    """Return whether all columns of ``rows`` have values."""
    return all(column.null_count == 0 for column in rows.columns)


MEASUREMENTS: dict[str, Callable[[str, pa.Table], bool]] = {
    "outcomes": _has_one_split,
    "shifts": _has_values,
    "ood": _has_values,
}
"""Tables that an evaluation of the weights can write again, and what holds for a file of each, by its name."""


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
