"""Local files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid


def write_local(target: str, content: bytes) -> None:
    """Write a local file, whole or not at all: under another name first, on the disk, then renamed."""
    folder, _, name = target.rpartition("/")
    os.makedirs(folder, exist_ok=True)
    draft = f"{folder}/_{name}.{uuid.uuid4().hex}"  # readers of Parquet folders skip names that begin with _
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        if os.path.exists(draft):
            os.remove(draft)
        raise
