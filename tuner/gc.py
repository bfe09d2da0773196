"""What a storage keeps that no sweep in it needs any more: found and shown first, removed only when told to.

Needed are the artifacts that a run still to be made starts from, and the checkpoints of runs still to be made, over
all sweeps that were run in the storage. Results are never touched. What is removed is made again where a later sweep
needs it: a dense network for a new sparsity of OMP, say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainables.records import TABLES
from trainables.store import Store
from tuner import journal
from tuner.graph import artifacts_of, build, examine
from tuner.opening import WrongCall, open_store, open_sweep
from tuner.points import points
from tuner.sweep import Sweep


@dataclass(frozen=True)
class Garbage:
    """Files by kind (``weights``, ``scores``, ``corrupted``, ``checkpoints``, ``drafts``), each with its bytes."""

    files: dict[str, dict[str, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(sum(sizes.values()) for sizes in self.files.values())

    def lines(self) -> list[str]:
        """What there is, a line a kind."""
        return [
            f"  {kind:<12} {len(sizes):>7} files {readable(sum(sizes.values())):>10}"
            for kind, sizes in self.files.items()
        ]


def find(sweeps: Iterable[Sweep], store: Store) -> Garbage:
    """Everything that none of ``sweeps`` needs; they must be all that are to be gone on with in this storage."""
    needed: set[str] = set()
    for sweep in sweeps:
        state = examine(build(points(sweep, store)), store)
        for run in state.todo:
            needed.add(f"checkpoints/{run}.pt")
            for need in state.graph.needs[run]:
                needed |= artifacts_of(state.graph.runs[need], store)
    files: dict[str, dict[str, int]] = {}
    drafts: dict[str, int] = {}
    for kind, folder in FOLDERS.items():
        sizes = store.sizes(folder)
        files[kind] = {path: size for path, size in sizes.items() if not is_draft(path) and path not in needed}
        drafts |= {path: size for path, size in sizes.items() if is_draft(path)}
    for table in TABLES:
        drafts |= {path: size for path, size in store.sizes(f"results/{table}").items() if is_draft(path)}
    return Garbage({**files, "drafts": drafts})


def find_here(storage: str) -> tuple[Garbage, Store]:
    """What no sweep that was run in ``storage`` needs; WrongCall while one is running."""
    store = open_store(storage)
    names = sorted(store.folders("sweeps"))
    alive = [name for name in names if journal.is_alive(name, store)]
    if alive:
        raise WrongCall(f"--storage {storage}: {', '.join(alive)} is running: wait until it has ended")
    return find([open_sweep(name, [], storage, as_it_was_run=True)[0] for name in names], store), store


def collect(garbage: Garbage, store: Store) -> None:
    """Remove it."""
    for sizes in garbage.files.values():
        for path in sizes:
            store.delete(path)


FOLDERS = {
    "weights": "artifacts/weights",
    "scores": "artifacts/scores",
    "corrupted": "artifacts/corrupted",
    "checkpoints": "checkpoints",
}


def is_draft(path: str) -> bool:
    """Whether a file was being written when its writer died."""
    return path.rpartition("/")[2].startswith("_")


def readable(size: float) -> str:
    """``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
