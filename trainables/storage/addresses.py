"""Addresses of a storage: a local path or a URI, and the folders of its tables."""

from __future__ import annotations

import os
import re

from pyarrow import fs

from sparsweep.trainables.storage.filesystem import expand_home

SCHEMES = ("s3", "gs", "gcs", "file")
RETRY_LIMIT_S = 5
"""How long Google's library tries again under a hurried address; otherwise it takes a quarter of an hour."""


def resolve_storage(storage: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the absolute root of a storage.

    Args:
        storage: A local path, or a URI such as ``s3://bucket/folder``.

    Raises:
        ValueError: ``storage`` is empty (it would stand for whatever folder the process is in), an address of another
            kind or with one slash missing, or in a home folder that is not known.
        OSError: The bucket's region cannot be asked for.
    """
    if not storage.strip():
        raise ValueError(f"storage is empty (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    scheme, slashes = re.match(r"(?:([A-Za-z][\w+.-]+):(/*))?", storage).groups()  # type: ignore[union-attr]
    if slashes == "/":
        raise ValueError(f"a slash is missing after {scheme}:/ (got {storage!r}). Addresses begin with s3:// or gs://.")
    if slashes and scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// is unknown (got {storage!r}). Name a folder, or an s3:// or gs:// address.")
    if slashes:
        filesystem, root = fs.FileSystem.from_uri(storage)
        if scheme != "file" and not root.strip("/"):
            raise ValueError(f"no bucket is named (got {storage!r}). Addresses are {scheme}://BUCKET/FOLDER.")
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), os.path.realpath(expand_home(storage))


def with_short_retries(storage: str) -> str:
    """Return the address of ``storage`` under which an unreachable one is given up within seconds."""
    if not storage.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in storage:
        return storage
    return f"{storage}{'&' if '?' in storage else '?'}retry_limit_seconds={RETRY_LIMIT_S}"


def table_folder(root: str, table: str) -> str:
    return f"{root}/results/{table}"
