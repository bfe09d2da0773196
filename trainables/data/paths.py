"""Where the files of data sets lie, and what is said when they are missing or damaged."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sparsweep.trainables.storage.filesystem import expand_home

ROOT_VARIABLE = "SPARSWEEP_DATA"
DEFAULT_ROOT = "~/.cache/sparsweep/data"


class DataError(Exception):
    """A data set cannot be read: one line that names it or its file, and the remedy."""


class MissingDataError(DataError, FileNotFoundError):
    """A data set, or a file of it, is not there."""


class CorruptDataError(DataError, ValueError):
    """A file of a data set is not what it should be."""


def data_root(given: str | Path | None = None) -> Path:
    """The folder of all data sets: ``given``, else the environment's SPARSWEEP_DATA, else ~/.cache/sparsweep/data.

    It is laid out as torchvision lays out its own, so a folder that torchvision has filled can be given.

    Raises:
        MissingData: It is in a home folder, and which that is cannot be found.
    """
    try:
        return expand_home(given or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)
    except ValueError as error:
        raise MissingDataError(f"the folder of data sets: {error} (--data DIR, or {ROOT_VARIABLE}=DIR)") from None


def check_md5(path: Path, md5: str, remedy: str) -> None:
    """MissingData if there is no file ``path``, DamagedData if its MD5 is another than ``md5``."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; {remedy}") from None
    if found != md5:
        raise CorruptDataError(f"{path} is damaged: its MD5 is {found}, not {md5}; {remedy}")
