"""Deleted artifacts of finished runs: the runs that recreate them, and the command for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.listing import StorageListing
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.errors import storage_option
from sparsweep.tuner.planning.graph import RunGraph
from sparsweep.tuner.planning.trials import current_trials, score_rankings


def runs_to_remake(what: str, graph: RunGraph, store: Store) -> list[str]:
    """Return the ids of the runs in ``graph`` whose artifacts ``--remake`` selects.

    Args:
        what: ``weights`` (of all finished trials) or ``scores``.
        graph: The runs of a sweep.
        store: The storage.
    """
    if what == "scores":
        return [run for run, spec in graph.runs.items() if isinstance(spec, ScoringSpec)]
    finished = store.finished()
    return [run for run, spec in graph.runs.items() if isinstance(spec, TrialSpec) and run in finished]


def command_for(trial: str, store: Store) -> str:
    """Return the command that recreates the weights of a finished trial."""
    table, _ = tables.read_table(store.storage, "trials", trials=[trial], columns=["sweep"])
    (sweep,) = table["sweep"].to_pylist()
    return f"sparsweep resume {sweep} --remake {trial}{storage_option(store.storage)}"


def lost_scores(sweeps: Iterable[Sweep], store: Store, listing: StorageListing) -> list[str]:
    """Return one line with the fix per sweep whose finished trials used scores that were deleted."""
    scores = [PurePosixPath(path).name for path in listing.artifacts if path.startswith("artifacts/scores/")]
    existing = {name.partition("-")[0] for name in scores}
    lines = []
    for sweep in sweeps:
        specs = [spec for trial, spec in current_trials(sweep, store).items() if trial in listing.finished]
        lost = {run for _, runs in score_rankings(specs) for run in runs} - existing
        if lost:
            fix = f"sparsweep resume {sweep.name} --remake scores{storage_option(store.storage)}"
            lines.append(f"{sweep.name}: no sample images: the scores of {len(lost)} runs are missing. Fix: {fix}")
    return lines
