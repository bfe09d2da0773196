"""Folder of the data sets, and errors for missing or damaged files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sparsweep.trainables.storage.filesystem import expand_home

ROOT_VARIABLE = "SPARSWEEP_DATA"
DEFAULT_ROOT = "~/.cache/sparsweep/data"


class DataError(Exception):
    """Error for a data set that cannot be read. The message is one line with the data set or file, and the fix."""


class MissingDataError(DataError, FileNotFoundError):
    """Error for a missing data set or a missing file of a data set."""


class CorruptDataError(DataError, ValueError):
    """Error for a damaged or invalid file of a data set."""


def data_root(given: str | Path | None = None) -> Path:
    """Return the folder of all data sets: ``given``, else SPARSWEEP_DATA, else ~/.cache/sparsweep/data.

    The layout is that of torchvision, so a folder filled by torchvision works too.

    Raises:
        MissingDataError: The folder is in a home folder, and the home folder is unknown.
    """
    try:
        return expand_home(given or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)
    except ValueError as error:
        raise MissingDataError(f"the folder of data sets: {error} (--data DIR, or {ROOT_VARIABLE}=DIR)") from None


def check_md5(path: Path, md5: str, remedy: str) -> None:
    """Check the MD5 of a file.

    Args:
        path: Path of the file.
        md5: Expected MD5 in hex digits.
        remedy: Fix to append to error messages.

    Raises:
        MissingDataError: The file does not exist.
        CorruptDataError: The file has another MD5.
    """
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; {remedy}") from None
    if actual != md5:
        raise CorruptDataError(f"{path} is damaged: its MD5 is {actual}, not {md5}; {remedy}")
