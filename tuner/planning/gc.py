"""Files of a storage that no sweep in it needs any more: listed first, removed only when told to.

Needed are the artifacts that a run still to be made starts from, and the checkpoints of runs still to be made, over
all sweeps that were run in the storage. Weights of finished trials and scores serve commands after that; they are kept
unless given up by name, and ``resume --remake`` makes them again. Results are never touched.

Removed are files of this package alone: their names are those that it gives, and no symbolic link leads to them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sparsweep.trainables.storage.schemas import SCHEMAS
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
"""Kinds of files that can become garbage: their folder, and the names that this package gives in it."""
WRITTEN_FILES = {
    **dict(COLLECTED_FILES.values()),
    **{f"results/{table}": rf"{_RUN}(-\d+)?\.parquet" for table in SCHEMAS},
    "results/memberships": rf"{SWEEP_NAME}\.parquet",
    "compacted": rf"({'|'.join(SCHEMAS)})\.parquet",
    "logs": rf"{_RUN}\.txt",
}
"""Folders in which a writer that died can leave a draft, and the names that it would have given."""
COMMANDS = {"weights": "export", "scores": "sample images in figures and report"}
"""What works with a kind of files after its sweeps are done."""


@dataclass(frozen=True)
class UnusedFiles:
    """Files by kind (those of :data:`COLLECTED_FILES`, and ``drafts``), each with its bytes.

    Attributes:
        files: What can be removed.
        kept: What no run needs but :data:`COMMANDS` do.
        used: What can be removed although :data:`COMMANDS` need it.
    """

    files: dict[str, dict[str, int]]
    kept: dict[str, dict[str, int]]
    used: dict[str, dict[str, int]]

    @property
    def size(self) -> int:
        """Bytes in all that can be removed."""
        return sum(sum(sizes.values()) for sizes in self.files.values())

    def lines(self, store: Store) -> list[str]:
        """Describe the garbage, one line per kind; of a kind that commands use, say which will not work."""
        return [f"  {kind:<12} {_amount(sizes)}{self._use(kind, store)}" for kind, sizes in self.files.items()]

    def _use(self, kind: str, store: Store) -> str:
        if kept := self.kept.get(kind):
            return f"; kept for {COMMANDS[kind]}: {_amount(kept).strip()}; --{kind} removes them too"
        if used := self.used.get(kind):
            again = f"sparsweep resume SWEEP --remake {kind}{storage_option(store.storage)}"
            return f"; stops {COMMANDS[kind]} for all {len(used)} until: {again}"
        return ""


def find_unused(sweeps: Iterable[Sweep], store: Store, given_up: Collection[str] = ()) -> UnusedFiles:
    """Find everything that nothing needs.

    Args:
        sweeps: All sweeps that are to be resumed in this storage.
        store: The storage.
        given_up: Kinds of :data:`COMMANDS` that are not kept for the commands.
    """
    needed = _needed_by_runs(sweeps, store)
    finished = {store.artifact_path("weights", trial) for trial in store.finished()}
    files: dict[str, dict[str, int]] = {}
    kept: dict[str, dict[str, int]] = {}
    used: dict[str, dict[str, int]] = {}
    for kind, (folder, pattern) in COLLECTED_FILES.items():
        spare = {path: size for path, size in _named(store, folder, pattern).items() if path not in needed}
        useful = {path: size for path, size in spare.items() if kind == "scores" or path in finished}
        (used if kind in given_up else kept)[kind] = useful
        files[kind] = {path: size for path, size in spare.items() if path not in kept.get(kind, {})}
    return UnusedFiles({**files, "drafts": _temp_files(store)}, kept, used)


def _needed_by_runs(sweeps: Iterable[Sweep], store: Store) -> set[str]:
    """Return the paths that runs still to be made start from."""
    needed: set[str] = set()
    for sweep in sweeps:
        state = compute_state(build_graph(current_trials(sweep, store)), store)
        for run in state.todo:
            needed.add(f"checkpoints/{run}.pt")
            for need in state.graph.prerequisites[run]:
                needed |= artifacts_of(state.graph.runs[need], store)
    return needed


def _temp_files(store: Store) -> dict[str, int]:
    """Return the files that were being written when their writer died (see ``atomic_write``)."""
    journals = {f"sweeps/{name}": r"(sweep\.yaml|driver\.json|log\.txt)" for name in sweep_record.list_sweeps(store)}
    drafts: dict[str, int] = {}
    for folder, pattern in {**WRITTEN_FILES, **journals}.items():
        drafts |= _named(store, folder, rf"_{pattern}\.[0-9a-f]{{32}}")
    return drafts


def _named(store: Store, folder: str, pattern: str) -> dict[str, int]:
    """Return the files of ``folder`` whose whole name matches ``pattern``, with their bytes."""
    return {
        path: size for path, size in store.list_sizes(folder).items() if re.fullmatch(pattern, path[len(folder) + 1 :])
    }


def refuse_running(store: Store) -> None:
    """Raise WrongCall if a sweep is running in ``store``."""
    for name in sorted(store.list_subfolders("sweeps")):
        try:
            refuse_if_driven(name, store)
        except SweepAlreadyRunning as error:
            raise UsageError(f"--storage {store.storage}: {error}: wait until it has ended") from None


def find_temp_files(store: Store) -> UnusedFiles:
    """Find what writers that died left: all that is known to be unused where a sweep cannot be read."""
    return UnusedFiles({"drafts": _temp_files(store)}, {}, {})


def delete(garbage: UnusedFiles, store: Store) -> None:
    """Remove the garbage."""
    for sizes in garbage.files.values():
        for path in sizes:
            store.delete(path)


def _amount(sizes: dict[str, int]) -> str:
    return f"{len(sizes):>7} files {format_bytes(sum(sizes.values())):>10}"


def format_bytes(size: float) -> str:
    """``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
