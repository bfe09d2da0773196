"""Files that users name: read with a bound on their size, and only where they are files.

A pipe would be waited for, a device read without end, and what a small archive unpacks to can fill the memory.
"""

from __future__ import annotations

import hashlib

from pyarrow import fs

from sparsweep.trainables.storage.addresses import resolve_storage

MAX_BYTES = 2**31
"""Of a file with masks or scores: those of 100 million samples take as much."""
MAX_TEXT_BYTES = 2**24
"""Of a file that people write."""
CHUNK = 2**20


def read_user_file(file: str, most: int = MAX_BYTES) -> bytes:
    """The content of ``file``, a local path or an address.

    Raises:
        ValueError: There can be no such address.
        OSError: It is no file, cannot be read, or has more than ``most`` bytes.
    """
    filesystem, path = _found(file)
    with filesystem.open_input_stream(path) as stream:
        content = bytes(stream.read(most + 1))
    if len(content) > most:
        raise OSError(f"it has more than {most:,} bytes, the most that are read")
    return content


def read_user_text(file: str) -> str:
    """The text in ``file``, as :func:`read_user_file`; UnicodeDecodeError, a ValueError, if it is not UTF-8."""
    return read_user_file(file, MAX_TEXT_BYTES).decode()


def user_file_digest(file: str) -> str:
    """SHA-256 of ``file`` in hex digits, of which a part at a time is in memory; errors as :func:`read_user_file`."""
    filesystem, path = _found(file)
    digest = hashlib.sha256()
    with filesystem.open_input_stream(path) as stream:
        while part := stream.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _found(file: str) -> tuple[fs.FileSystem, str]:
    filesystem, path = resolve_storage(file)
    kind = filesystem.get_file_info(path).type
    if kind is fs.FileType.NotFound:
        raise FileNotFoundError("there is no such file on this machine")
    if kind is not fs.FileType.File:
        raise OSError("it is a folder" if kind is fs.FileType.Directory else "it is a pipe or a device, not a file")
    return filesystem, path
