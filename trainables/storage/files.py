"""Files of a storage: a local folder, or a bucket (``s3://``, ``gs://``).

Every write is atomic. A local file gets a temporary name and is renamed; an object store has no rename, but one PUT is
atomic.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import PurePosixPath

from pyarrow import fs

from sparsweep.trainables.storage import addresses, mark
from sparsweep.trainables.storage.filesystem import atomic_write


class FileStore:
    """Files of one storage, by path relative to its root. Holds no open files, so it can be pickled.

    Attributes:
        storage: Local path or URI of the storage.
        filesystem: Arrow file system.
        root: Absolute path of the root in ``filesystem``.
    """

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.filesystem, self.root = addresses.resolve_storage(storage)

    def __getstate__(self) -> dict[str, str]:
        # An absolute address, because a worker has another working folder than the driver.
        return {"storage": self.storage if "://" in self.storage else self.root}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["storage"])  # type: ignore[misc]

    def uri(self, path: str) -> str:
        """Return ``path`` as an absolute local path or a URI."""
        scheme, separator, rest = self.storage.partition("://")
        _, question, settings = rest.partition("?")
        return f"{scheme}://{self.root}/{path}{question}{settings}" if separator else f"{self.root}/{path}"

    def write(self, path: str, content: bytes) -> None:
        """Write a file atomically.

        Args:
            path: Path relative to the root.
            content: Bytes to write.
        """
        target = f"{self.root}/{path}"
        if isinstance(self.filesystem, fs.LocalFileSystem):
            atomic_write(target, content)
            return
        with self.filesystem.open_output_stream(target) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes | None:
        """Return the content of ``path``, or None if the file does not exist."""
        try:
            with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        """Return whether ``path`` is a file."""
        return self.filesystem.get_file_info(f"{self.root}/{path}").type is fs.FileType.File

    def delete(self, path: str) -> None:
        """Delete ``path`` if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.root}/{path}")

    def list_ids(self, folder: str) -> set[str]:
        """Return the names of all finished files in ``folder``, without suffix."""
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        files = [info for info in infos if info.is_file and not info.base_name.startswith(("_", "."))]
        return {os.path.splitext(info.base_name)[0] for info in files}

    def list_sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of every file in ``folder`` by path, temporary files included.

        Symbolic links are skipped, also if ``folder`` is one: their targets are outside the storage.
        """
        if self._is_behind_link(folder):
            return {}
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        infos = {f"{folder}/{info.base_name}": info for info in self.filesystem.get_file_info(selector)}
        return {path: info.size for path, info in infos.items() if info.is_file and not self._is_link(path)}

    def _is_behind_link(self, folder: str) -> bool:
        """Return whether ``folder`` or one of its parents below the root is a symbolic link."""
        return any(self._is_link(str(part)) for part in (PurePosixPath(folder), *PurePosixPath(folder).parents[:-1]))

    def _is_link(self, path: str) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem) and os.path.islink(f"{self.root}/{path}")

    def list_subfolders(self, folder: str) -> set[str]:
        """Return the names of the subfolders of ``folder`` that contain a file.

        The names come from a listing of files, because Google's buckets do not list folders.
        """
        selector = fs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        inside = f"{self.root}/{folder}/"
        paths = [info.path.removeprefix(inside) for info in self.filesystem.get_file_info(selector) if info.is_file]
        return {path.partition("/")[0] for path in paths if "/" in path}

    def check_folder(self) -> None:
        """Raise NotADirectoryError if the root exists and is not a folder."""
        if isinstance(self.filesystem, fs.LocalFileSystem) and os.path.exists(self.root) != os.path.isdir(self.root):
            raise NotADirectoryError("not a folder. Give a folder, or an s3:// or gs:// address.")

    def check_reachable(self) -> None:
        """Raise OSError within seconds if a bucket cannot be reached or listed. Sends one request."""
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            filesystem, root = addresses.resolve_storage(addresses.with_short_retries(self.storage))
            filesystem.get_file_info(root)

    def check_writable(self) -> None:
        """Raise OSError with the reason if the storage is not writable."""
        probe = f"_probe.{uuid.uuid4().hex}"
        self.write(probe, b"")
        self.delete(probe)

    def is_marked(self) -> bool:
        """Return whether the root has the mark of a storage."""
        return mark.is_marked(self.storage)

    def mark(self) -> None:
        """Write the mark of a storage, if it is missing."""
        if not self.is_marked():
            self.write(mark.NAME, mark.CONTENT)
