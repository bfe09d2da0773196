"""What a storage keeps that no sweep in it needs any more: found and shown first, removed only when told to.

Needed are the artifacts that a run still to be made starts from, and the checkpoints of runs still to be made, over
all sweeps that were run in the storage. Results are never touched. What is removed is made again where a later sweep
needs it: a dense network for a new sparsity of OMP, say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainables.store import Store
from tuner.graph import artifacts_of, build, examine
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
    for kind, folder in FOLDERS.items():
        sizes = store.sizes(folder)
        files[kind] = {path: size for path, size in sizes.items() if not is_draft(path) and path not in needed}
        files.setdefault("drafts", {}).update({path: size for path, size in sizes.items() if is_draft(path)})
    return Garbage(files)


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
