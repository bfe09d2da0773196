"""Mark of a storage: a file at its root, written by the first sweep in that storage.

Commands delete or rewrite files only in a marked storage. A folder without the mark may belong to another program.
"""

from __future__ import annotations

from sparsweep.trainables.storage import addresses

NAME = "SPARSWEEP.TAG"
CONTENT = b"""Signature: sparsweep storage 1
sparsweep writes, rewrites and removes files of its own in this folder.
"""


def is_marked(storage: str) -> bool:
    """Return whether ``storage`` has the mark. A file with the same name and other content does not count."""
    filesystem, root = addresses.resolve_storage(storage)
    try:
        with filesystem.open_input_file(f"{root}/{NAME}") as file:
            return bytes(file.read(len(CONTENT))).startswith(CONTENT.splitlines()[0])
    except FileNotFoundError:
        return False
