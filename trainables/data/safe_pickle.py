"""Safe reader for pickle files with arrays of bytes. It never runs code from the file.

A pickle is a program: it can call any function that the unpickler imports. The data sets of Krizhevsky are pickles.
This unpickler allows only the functions that rebuild arrays and text, and raises an error for all others.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sparsweep.trainables.data.paths import CorruptDataError


def _encode(text: str, encoding: str) -> bytes:
    """Replace ``codecs.encode``. Python 3 uses it to write bytes in old pickle protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are encoded as latin1 (got {encoding})")
    return text.encode("latin1")


_rebuild_array: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]

ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _rebuild_array,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _rebuild_array,  # NumPy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed in a file of arrays")
        return ALLOWED[module, name]


def read_arrays(path: Path, remedy: str) -> Any:
    """Return the content of a pickle file: arrays, numbers, text as bytes, and lists and dictionaries of them.

    Args:
        path: Path of the file.
        remedy: Fix to append to error messages.

    Raises:
        CorruptDataError: The file is truncated, or names a function that is not allowed. No such function is called.
    """
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="bytes").load()
    except Exception as error:  # an unpickler raises many types of errors on untrusted bytes
        raise CorruptDataError(f"{path} is damaged: {' '.join(str(error).split())}; {remedy}") from None
