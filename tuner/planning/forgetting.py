"""Removal of finished or failed results, so that they run again: by id, by a condition, or after code changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sparsweep.trainables.runs.origins import modules_of
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.provenance import Code, changed_modules, load_code
from sparsweep.trainables.storage.schemas import FILE_NAMES
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import RunGraph, closure
from sparsweep.tuner.planning.repair import TABLES

CHANGED = "changed"
"""Value of ``--rerun`` that selects all trials with different code in any module."""


def changed_trials(trials: Iterable[str], store: Store) -> dict[str, list[str]]:
    """Return the finished ones of ``trials`` that ran with different code than this process, by module."""
    table, _ = tables.read_table(store.storage, "trials", set(trials), ["trial", "code"])
    return by_module(dict(zip(table["trial"].to_pylist(), map(load_code, table["code"].to_pylist()), strict=True)))


def by_module(codes: Mapping[str, Code]) -> dict[str, list[str]]:
    """Return the trials in ``codes`` that ran with different code than this process, by module."""
    changed: defaultdict[str, list[str]] = defaultdict(list)
    for trial, code in codes.items():
        for module in changed_modules(code):
            changed[module].append(trial)
    return dict(changed)


def runs_to_rerun(what: str, graph: RunGraph, store: Store) -> list[str]:
    """Return the ids of the runs in ``graph`` that ``--rerun`` selects.

    Args:
        what: ``changed`` (all trials with different code), a module (trials with different code in it), or a prefix
            of the id of a finished trial. Prerequisites that use the changed modules are included.
        graph: The runs of a sweep.
        store: The storage.

    Raises:
        UsageError: ``what`` is neither a changed module nor a unique prefix.
    """
    changed = changed_trials(graph.runs, store)
    modules = set(changed) if what == CHANGED else {what} & set(changed)
    if not modules and what != CHANGED:
        return [_finished_trial(what, graph, changed, store)]
    trials = {trial for module in modules for trial in changed[module]}
    needed = closure(graph, trials) - trials
    return [
        *(run for run in graph.runs if run in trials),
        *(run for run in graph.runs if run in needed and modules & modules_of(graph.runs[run])),
    ]


def _finished_trial(what: str, graph: RunGraph, changed: Collection[str], store: Store) -> str:
    finished = store.finished()
    trials = [run for run, spec in graph.runs.items() if isinstance(spec, TrialSpec) and run in finished]
    matches = [run for run in trials if run.startswith(what)]
    if len(matches) != 1:
        raise UsageError(
            f"--rerun {what}: neither a changed module ({', '.join(sorted(changed)) or 'none'}) nor a unique id "
            f"({len(matches)} finished trials of this sweep match in {store.storage}). Or give: {CHANGED}. "
            "Failed trials are retried by sparsweep resume."
        )
    return matches[0]


def forget(runs: Collection[str], store: Store) -> None:
    """Remove what is stored of ``runs``: results, failures, artifacts and checkpoints. Logs stay."""
    remove_files(files_of(runs, store), store)


def remove_files(files: Mapping[str, Iterable[str]], store: Store) -> None:
    """Remove ``files`` in the order of :func:`files_of`."""
    for paths in files.values():
        for path in paths:
            store.delete(path)


def files_of(runs: Collection[str], store: Store) -> dict[str, list[str]]:
    """Return the files of each run, first the row that marks the run as finished.

    Args:
        runs: Ids of runs.
        store: The storage.
    """
    wanted, files = set(runs), {run: [store.result_path(table, run) for table in TABLES] for run in runs}
    rows = [
        store.result_path(table, name) for table in FILE_NAMES for name in sorted(store.list_ids(f"results/{table}"))
    ]
    for path in [*rows, *sorted(store.artifact_paths())]:
        run = path.rpartition("/")[2][:16]
        if run in wanted:
            files[run].append(path)
    for run in store.checkpoints() & wanted:
        files[run].append(f"checkpoints/{run}.pt")
    return files
