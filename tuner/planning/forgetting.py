"""Finished or failed runs taken back, so that they are made again: by id, by a condition, or because code changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sparsweep.trainables.runs.origins import modules_of
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.provenance import Code, changed_modules, load_code
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import RunGraph, closure
from sparsweep.tuner.planning.repair import TABLES

CHANGED = "changed"
"""Stands for all trials that were made by other code, whatever the module."""


def changed_trials(trials: Iterable[str], store: Store) -> dict[str, list[str]]:
    """Return the finished ones of ``trials`` that were made by other code than is loaded here, by module."""
    table, _ = tables.read_table(store.storage, "trials", set(trials), ["trial", "code"])
    return by_module(dict(zip(table["trial"].to_pylist(), map(load_code, table["code"].to_pylist()), strict=True)))


def by_module(codes: Mapping[str, Code]) -> dict[str, list[str]]:
    """Return which of the trials in ``codes`` were made by other code than is loaded here, by module."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for trial, code in codes.items():
        for module in changed_modules(code):
            found[module].append(trial)
    return dict(found)


def runs_to_rerun(what: str, graph: RunGraph, store: Store) -> list[str]:
    """Return the ids of the runs in ``graph`` that ``--rerun`` wants made again.

    Args:
        what: ``changed`` for all trials of other code, a module for those of other code of it, or the beginning of
            the id of a finished trial. What such trials need is made again too, as far as it comes from the module.
        graph: The graph of a sweep.
        store: The storage.

    Raises:
        WrongCall: Nothing was made by other code of such a module, and no one trial begins so.
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
            f"--rerun {what}: {len(matches)} finished trials of this sweep begin so in {store.storage}, and it is no "
            f"module whose code has changed ({', '.join(sorted(changed)) or 'there is none'}). Or give: {CHANGED}. "
            "Failed trials are retried by sparsweep resume."
        )
    return matches[0]


def forget(runs: Collection[str], store: Store) -> None:
    """Remove what is stored of ``runs``: results, failures, artifacts and checkpoints. Logs stay."""
    remove_files(files_of(runs, store), store)


def remove_files(files: Mapping[str, Iterable[str]], store: Store) -> None:
    """Remove ``files``, in the order in which :func:`files_of` gives them."""
    for paths in files.values():
        for path in paths:
            store.delete(path)


def files_of(runs: Collection[str], store: Store) -> dict[str, list[str]]:
    """Return the paths of the files to remove for each of ``runs``; the row that marks it comes first."""
    wanted, found = set(runs), {run: [store.result_path(table, run) for table in TABLES] for run in runs}
    failures = (store.result_path("failures", name) for name in store.list_ids("results/failures"))
    for path in [*sorted(failures), *sorted(store.artifact_paths())]:
        run = path.rpartition("/")[2][:16]
        if run in wanted:
            found[run].append(path)
    for run in store.checkpoints() & wanted:
        found[run].append(f"checkpoints/{run}.pt")
    return found
