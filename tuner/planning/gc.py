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

from sparsweep.trainables.storage.schemas import TABLES
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import SWEEP_NAME, Sweep
from sparsweep.tuner.errors import WrongCall, storage_option
from sparsweep.tuner.planning.graph import artifacts_of, build, examine
from sparsweep.tuner.planning.trials import points
from sparsweep.tuner.state import sweep_record
from sparsweep.tuner.state.driver_lease import SweepAlreadyRunning, refuse_if_driven

_RUN = "[0-9a-f]{16}"
COLLECTED = {
    "weights": ("artifacts/weights", rf"{_RUN}\.pt"),
    "scores": ("artifacts/scores", rf"{_RUN}-[A-Za-z0-9_]+\.parquet"),
    "corrupted": ("artifacts/corrupted", rf"{_RUN}\.images"),
    "checkpoints": ("checkpoints", rf"{_RUN}\.pt"),
}
"""Kinds of files that can become garbage: their folder, and the names that this package gives in it."""
WRITTEN = {
    **dict(COLLECTED.values()),
    **{f"results/{table}": rf"{_RUN}(-\d+)?\.parquet" for table in TABLES},
    "results/memberships": rf"{SWEEP_NAME}\.parquet",
    "compacted": rf"({'|'.join(TABLES)})\.parquet",
    "logs": rf"{_RUN}\.txt",
}
"""Folders in which a writer that died can leave a draft, and the names that it would have given."""
COMMANDS = {"weights": "export", "scores": "sample images in figures and report"}
"""What works with a kind of files after its sweeps are done."""


@dataclass(frozen=True)
class Garbage:
    """Files by kind (those of :data:`COLLECTED`, and ``drafts``), each with its bytes.

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


def find(sweeps: Iterable[Sweep], store: Store, given_up: Collection[str] = ()) -> Garbage:
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
    for kind, (folder, pattern) in COLLECTED.items():
        spare = {path: size for path, size in _named(store, folder, pattern).items() if path not in needed}
        useful = {path: size for path, size in spare.items() if kind == "scores" or path in finished}
        (used if kind in given_up else kept)[kind] = useful
        files[kind] = {path: size for path, size in spare.items() if path not in kept.get(kind, {})}
    return Garbage({**files, "drafts": _drafts(store)}, kept, used)


def _needed_by_runs(sweeps: Iterable[Sweep], store: Store) -> set[str]:
    """Return the paths that runs still to be made start from."""
    needed: set[str] = set()
    for sweep in sweeps:
        state = examine(build(points(sweep, store)), store)
        for run in state.todo:
            needed.add(f"checkpoints/{run}.pt")
            for need in state.graph.needs[run]:
                needed |= artifacts_of(state.graph.runs[need], store)
    return needed


def _drafts(store: Store) -> dict[str, int]:
    """Return the files that were being written when their writer died (see ``write_local``)."""
    journals = {f"sweeps/{name}": r"(sweep\.yaml|driver\.json|log\.txt)" for name in sweep_record.recorded(store)}
    drafts: dict[str, int] = {}
    for folder, pattern in {**WRITTEN, **journals}.items():
        drafts |= _named(store, folder, rf"_{pattern}\.[0-9a-f]{{32}}")
    return drafts


def _named(store: Store, folder: str, pattern: str) -> dict[str, int]:
    """Return the files of ``folder`` whose whole name matches ``pattern``, with their bytes."""
    return {path: size for path, size in store.sizes(folder).items() if re.fullmatch(pattern, path[len(folder) + 1 :])}


def refuse_running(store: Store) -> None:
    """Raise WrongCall if a sweep is running in ``store``."""
    for name in sorted(store.folders("sweeps")):
        try:
            refuse_if_driven(name, store)
        except SweepAlreadyRunning as error:
            raise WrongCall(f"--storage {store.storage}: {error}: wait until it has ended") from None


def find_drafts(store: Store) -> Garbage:
    """Find what writers that died left: all that is known to be unused where a sweep cannot be read."""
    return Garbage({"drafts": _drafts(store)}, {}, {})


def collect(garbage: Garbage, store: Store) -> None:
    """Remove the garbage."""
    for sizes in garbage.files.values():
        for path in sizes:
            store.delete(path)


def _amount(sizes: dict[str, int]) -> str:
    return f"{len(sizes):>7} files {readable(sum(sizes.values())):>10}"


def readable(size: float) -> str:
    """``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
