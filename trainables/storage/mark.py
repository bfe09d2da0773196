"""The mark of a storage: a file at its root, written by the first sweep that is run there.

Files are removed or rewritten only where it is. Any other folder may belong to somebody else, whatever the names in it.
"""

from __future__ import annotations

from sparsweep.trainables.storage import addresses

NAME = "SPARSWEEP.TAG"
CONTENT = b"""Signature: sparsweep storage 1
sparsweep writes, rewrites and removes files of its own in this folder.
"""


def is_marked(storage: str) -> bool:
    """Return whether ``storage`` carries the mark. A file of that name with other content is none."""
    filesystem, root = addresses.resolve_storage(storage)
    try:
        with filesystem.open_input_file(f"{root}/{NAME}") as file:
            return bytes(file.read(len(CONTENT))).startswith(CONTENT.splitlines()[0])
    except FileNotFoundError:
        return False
