"""Results that cannot be read, or are not whole: removed before a sweep is resumed, so that they are made again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store

TABLES = ("trials", "epochs", "layers")
"""The tables of a finished trial. Its row in the first one marks it as finished, so that one is removed first."""


def remove_damaged_results(runs: Mapping[str, RunSpec], store: Store) -> list[str]:
    """Remove all rows of those trials among ``runs`` of which a file is damaged or lacks rows. Return their ids.

    The rows in ``trials`` are read whole, with their checksums; of the longer tables what tells whether every epoch and
    every layer is there.
    """
    trials, paths = tables.read_table(store.storage, "trials", runs)
    epochs, cut_epochs = tables.read_table(store.storage, "epochs", runs, ["trial", "epoch"])
    layers, cut_layers = tables.read_table(store.storage, "layers", runs, ["trial", "position", "flops"])
    courses = _by_trial(epochs, "epoch", "min", "max", "count", "count_distinct")
    networks = _by_trial(layers, "position", "max", "count_distinct", "count")
    flops = _by_trial(layers, "flops", "sum")
    damaged = {PurePosixPath(path).stem for path in (*paths, *cut_epochs, *cut_layers)} & runs.keys()
    for row in trials.select(["trial", "spec", "inference_flops"]).to_pylist():
        trial = row["trial"]
        spec = runs[trial]
        whole = (
            _is_spec(row["spec"])
            and isinstance(spec, TrialSpec)
            and courses.get(trial) == expected_epochs(spec)
            and _is_network(networks.get(trial), flops.get(trial, [None])[0], row["inference_flops"])
        )
        if not whole:
            damaged.add(trial)
    for trial in damaged:
        for table in TABLES:
            store.delete(store.result_path(table, trial))
    return sorted(damaged)


def _by_trial(table: pa.Table, column: str, *functions: str) -> dict[str, list[Any]]:
    """What ``functions`` (of Arrow) make of ``column`` for each trial."""
    found = table.group_by("trial").aggregate([(column, function) for function in functions])
    names = [f"{column}_{function}" for function in functions]
    return {row["trial"]: [row[name] for name in names] for row in found.to_pylist()}


def expected_epochs(spec: TrialSpec) -> list[int]:
    """The first and the last epoch that ``spec`` trains, how many rows there are, and how many different ones."""
    last = spec.recipe.epochs
    return [last - spec.num_epochs + 1, last, spec.num_epochs, spec.num_epochs]


def _is_network(positions: list[int] | None, flops: float | None, in_all: float | None) -> bool:
    """Return whether every layer has a row: they are counted from 0, and take as many FLOPs as the network does.

    Tables of the first version may not know the FLOPs.
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
