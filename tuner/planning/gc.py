"""Garbage collection: files of a storage that no sweep needs. ``gc`` lists them and removes them with ``--yes``.

Needed files: the artifacts that missing runs start from, and the checkpoints of missing runs, over all sweeps in the
storage. Weights of finished trials and scores are kept for later commands, unless an option discards them;
``resume --remake`` recreates them. Results are never removed.

Only files with names that sparsweep writes are removed, and no symbolic links are followed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rich.filesize import decimal

from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.storage.schemas import SCHEMAS, file_pattern
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import SWEEP_NAME, Sweep
from sparsweep.tuner.errors import UsageError, storage_option
from sparsweep.tuner.planning.graph import artifacts_of, build_graph, compute_state
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.state import sweep_record
from sparsweep.tuner.state.driver_lease import SweepAlreadyRunning, refuse_if_driven

_RUN = "[0-9a-f]{16}"
COLLECTED_FILES = {
    "weights": ("artifacts/weights", rf"{_RUN}\.pt"),
    "scores": ("artifacts/scores", rf"{_RUN}-[A-Za-z0-9_]+\.parquet"),
    "corrupted": ("artifacts/corrupted", rf"{_RUN}\.images"),
    "checkpoints": ("checkpoints", rf"{_RUN}\.pt"),
}
"""Kinds of files that can become garbage, with their folder and name pattern."""
WRITTEN_FILES = {
    **dict(COLLECTED_FILES.values()),
    **{f"results/{table}": file_pattern(table) for table in SCHEMAS},
    "results/memberships": rf"{SWEEP_NAME}\.parquet",
    "compacted": rf"({'|'.join(SCHEMAS)})\.parquet",
    "logs": rf"{_RUN}\.txt",
}
"""Folders where a killed writer can leave a temporary file, and the patterns of the final names."""
COMMANDS = {"weights": "export", "scores": "sample images in figures and report"}
"""Commands that use a kind of files after the end of its sweeps."""


@dataclass(frozen=True)
class UnusedFiles:
    """Sizes in bytes of unused files, by kind (:data:`COLLECTED_FILES` and ``drafts``, i.e. temporary files) and path.

    Attributes:
        files: Files to remove.
        kept: Files to keep for :data:`COMMANDS`, although no run needs them.
        used: Files to remove although :data:`COMMANDS` need them.
    """

    files: dict[str, dict[str, int]]
    kept: dict[str, dict[str, int]]
    used: dict[str, dict[str, int]]

    @property
    def size(self) -> int:
        """Total number of bytes to remove."""
        return sum(sum(sizes.values()) for sizes in self.files.values())

    def lines(self, store: Store) -> list[str]:
        """Format the garbage, one line per kind, with the commands that stop working."""
        return [f"  {kind:<12} {_amount(sizes)}{self._use(kind, store)}" for kind, sizes in self.files.items()]

    def _use(self, kind: str, store: Store) -> str:
        if kept := self.kept.get(kind):
            return f"; kept for {COMMANDS[kind]}: {_amount(kept).strip()}. Remove them with --{kind}."
        if used := self.used.get(kind):
            again = f"sparsweep resume SWEEP --remake {kind}{storage_option(store.storage)}"
            return f"; disables {COMMANDS[kind]} for all {len(used)} until: {again}"
        return ""


def find_unused(sweeps: Iterable[Sweep], store: Store, given_up: Collection[str] = ()) -> UnusedFiles:
    """Return all files that no sweep needs.

    Args:
        sweeps: All sweeps in the storage.
        store: The storage.
        given_up: Kinds of :data:`COMMANDS` to remove although the commands use them.
    """
    needed = _needed_by_runs(sweeps, store)
    finished = {store.artifact_path("weights", trial) for trial in store.finished()}
    files: dict[str, dict[str, int]] = {}
    kept: dict[str, dict[str, int]] = {}
    used: dict[str, dict[str, int]] = {}
    for kind, (folder, pattern) in COLLECTED_FILES.items():
        unneeded = {path: size for path, size in _named(store, folder, pattern).items() if path not in needed}
        useful = {path: size for path, size in unneeded.items() if kind == "scores" or path in finished}
        (used if kind in given_up else kept)[kind] = useful
        files[kind] = {path: size for path, size in unneeded.items() if path not in kept.get(kind, {})}
    return UnusedFiles({**files, "drafts": _temp_files(store)}, kept, used)


def _needed_by_runs(sweeps: Iterable[Sweep], store: Store) -> set[str]:
    """Return the paths of checkpoints and artifacts that missing runs start from."""
    needed: set[str] = set()
    for sweep in sweeps:
        state = compute_state(build_graph(current_trials(sweep, store)), store)
        for run in state.todo:
            needed.add(f"checkpoints/{run}.pt")
            spec = state.graph.runs[run]
            if isinstance(spec, EvaluationSpec):
                needed.add(store.artifact_path("weights", spec.trial.id))
            for need in state.graph.prerequisites[run]:
                needed |= artifacts_of(state.graph.runs[need], store)
    return needed


def _temp_files(store: Store) -> dict[str, int]:
    """Return the temporary files of killed writers (see ``atomic_write``)."""
    journals = {f"sweeps/{name}": r"(sweep\.yaml|driver\.json|log\.txt)" for name in sweep_record.list_sweeps(store)}
    temp_files: dict[str, int] = {}
    for folder, pattern in {**WRITTEN_FILES, **journals}.items():
        temp_files |= _named(store, folder, rf"_{pattern}\.[0-9a-f]{{32}}")
    return temp_files


def _named(store: Store, folder: str, pattern: str) -> dict[str, int]:
    """Return the sizes of the files in ``folder`` whose full name matches ``pattern``."""
    return {
        path: size for path, size in store.list_sizes(folder).items() if re.fullmatch(pattern, path[len(folder) + 1 :])
    }


def refuse_running(store: Store) -> None:
    """Raise UsageError if a sweep is running in ``store``."""
    for name in sorted(store.list_subfolders("sweeps")):
        try:
            refuse_if_driven(name, store)
        except SweepAlreadyRunning as error:
            raise UsageError(f"--storage {store.storage}: {error}. Wait for its end.") from None


def find_temp_files(store: Store) -> UnusedFiles:
    """Return only temporary files: the only files known to be unused if a sweep is unreadable."""
    return UnusedFiles({"drafts": _temp_files(store)}, {}, {})


def delete(garbage: UnusedFiles, store: Store) -> None:
    """Remove all files in ``garbage.files``."""
    for sizes in garbage.files.values():
        for path in sizes:
            store.delete(path)


def _amount(sizes: dict[str, int]) -> str:
    return f"{len(sizes):>7} files {decimal(sum(sizes.values())):>10}"
