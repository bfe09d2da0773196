"""Addresses of storages (local paths and URIs), and the folders of their tables."""

from __future__ import annotations

import os
import re

from pyarrow import fs

from sparsweep.trainables.storage.filesystem import expand_home

SCHEMES = ("s3", "gs", "gcs", "file")
RETRY_LIMIT_S = 5
"""Retry limit of Google's client library for a short check, in seconds. Its default is about 15 minutes."""


def resolve_storage(storage: str) -> tuple[fs.FileSystem, str]:
    """Return the file system and the absolute root of a storage.

    Args:
        storage: A local path, or a URI such as ``s3://bucket/folder``.

    Raises:
        ValueError: ``storage`` is empty (an empty path would mean the current folder), has an unknown scheme or only
            one slash, names no bucket, or lies in an unknown home folder.
        OSError: The region of the bucket cannot be found.
    """
    if not storage.strip():
        raise ValueError(f"storage is empty (got {storage!r}). Give a folder, or an s3:// or gs:// address.")
    scheme, slashes = re.match(r"(?:([A-Za-z][\w+.-]+):(/*))?", storage).groups()  # type: ignore[union-attr]
    if slashes == "/":
        raise ValueError(f"a slash is missing after {scheme}:/ (got {storage!r}). Addresses start with s3:// or gs://.")
    if slashes and scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme}:// (got {storage!r}). Give a folder, or an s3:// or gs:// address.")
    if slashes:
        filesystem, root = fs.FileSystem.from_uri(storage)
        if scheme != "file" and not root.strip("/"):
            raise ValueError(f"the bucket is missing (got {storage!r}). Addresses are {scheme}://BUCKET/FOLDER.")
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), os.path.realpath(expand_home(storage))


def with_short_retries(storage: str) -> str:
    """Return the address of ``storage`` with a retry limit of a few seconds."""
    if not storage.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in storage:
        return storage
    return f"{storage}{'&' if '?' in storage else '?'}retry_limit_seconds={RETRY_LIMIT_S}"


def table_folder(root: str, table: str) -> str:
    """Return the folder of ``table`` in a storage with that ``root``."""
    return f"{root}/results/{table}"
