"""Arrays of bytes out of pickle files, without running anything that such a file could name.

A pickle is a program: it may call any function that its reader finds for it. The data sets of Krizhevsky come as
pickles, so they are read by an unpickler that finds only what rebuilds arrays and text, and refuses everything else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sparsweep.trainables.data.paths import CorruptDataError


def _encode(text: str, encoding: str) -> bytes:
    """In place of ``codecs.encode``, by which Python 3 writes bytes where the protocol has none."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are written as latin1, not as {encoding}")
    return text.encode("latin1")


_rebuild_array: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]

ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _rebuild_array,  # its place in NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _rebuild_array,  # and in NumPy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and arrays of bytes need no such thing")
        return ALLOWED[module, name]


def read_arrays(path: Path, remedy: str) -> Any:
    """What the pickle file ``path`` holds: arrays, numbers, text as bytes, and lists and dictionaries of them.

    DamagedData if it is torn or names anything else; nothing that it names is run.
    """
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="bytes").load()
    except Exception as error:  # whatever a stranger's bytes can make an unpickler raise
        raise CorruptDataError(f"{path} is damaged: {' '.join(str(error).split())}; {remedy}") from None
