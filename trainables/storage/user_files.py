"""Reader for files given by users. It accepts only regular files and limits their size.

A read from a pipe can block, a device has no end, and the content of a small archive can fill the memory.
"""

from __future__ import annotations

import hashlib

from pyarrow import fs

from sparsweep.trainables.storage.addresses import resolve_storage

MAX_BYTES = 2**31
"""Maximum size of a file with masks or scores (enough for 100 million samples)."""
MAX_TEXT_BYTES = 2**24
"""Maximum size of a text file."""
CHUNK = 2**20


def read_user_file(file: str, most: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    Args:
        file: Local path or address.
        most: Maximum number of bytes.

    Raises:
        ValueError: The address is invalid.
        OSError: The path is not a file, cannot be read, or has more than ``most`` bytes.
    """
    filesystem, path = _locate(file)
    with filesystem.open_input_stream(path) as stream:
        content = bytes(stream.read(most + 1))
    if len(content) > most:
        raise OSError(f"the file is larger than the limit of {most:,} bytes")
    return content


def read_user_text(file: str) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        ValueError: The address is invalid, or the file is not UTF-8 (UnicodeDecodeError).
        OSError: As in :func:`read_user_file`.
    """
    return read_user_file(file, MAX_TEXT_BYTES).decode()


def user_file_digest(file: str) -> str:
    """Return the SHA-256 of ``file`` in hex digits. Raise the errors of :func:`read_user_file`."""
    filesystem, path = _locate(file)
    digest = hashlib.sha256()
    with filesystem.open_input_stream(path) as stream:
        while part := stream.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _locate(file: str) -> tuple[fs.FileSystem, str]:
    filesystem, path = resolve_storage(file)
    kind = filesystem.get_file_info(path).type
    if kind is fs.FileType.NotFound:
        raise FileNotFoundError("file not found on this node")
    if kind is not fs.FileType.File:
        raise OSError("it is a folder" if kind is fs.FileType.Directory else "it is a pipe or a device, not a file")
    return filesystem, path
