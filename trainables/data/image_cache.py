"""Image files decoded once, into an array file that later runs map into memory.

Decoding 110,000 small JPEGs takes a minute or so, mapping the result takes none. The array file is named after a digest
of the files that it was made from, appears whole or not at all, and can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sparsweep.trainables.data.image_files import read_image
from sparsweep.trainables.data.paths import CorruptDataError, DataError

log = logging.getLogger(__name__)

CACHE = "decoded"
"""Folder of the array files, in the folder of all data sets."""
RULE = 2
"""Raised when the same file gives other pixels than before: arrays that were made by an older rule are not read."""
DECODE_CHUNK = 1000
"""Images in memory at a time while they are decoded."""


def digest(lines: Iterable[str]) -> str:
    """16 hex digits of the SHA-256 of ``lines``."""
    text = "".join(f"{line}\n" for line in lines)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def listing_digest(files: Mapping[str, Path]) -> str:
    """Digest of ``files`` by name: of their names and sizes, in this order, not of their content."""
    return digest(f"{name} {path.stat().st_size}" for name, path in files.items())


def state_digest(files: Iterable[Path]) -> str:
    """Digest of the files as they lie on this disk: another one as soon as a file was written again."""
    states = ((path, path.stat()) for path in files)
    return digest(f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in states)


def load_or_decode(files: Sequence[Path], size: int, cache: Path, remedy: str) -> np.ndarray:
    """The image ``files`` as uint8 RGB [N, 3, size, size], from ``cache`` if they are there.

    An image of another size is scaled (bilinearly, the shorter side to ``size``) and cropped at the centre. DamagedData
    if one cannot be decoded, DataError if the cache cannot be written. The array is a read-only view of the file.
    """
    path = cache / f"{state_digest(files)}-{size}-{RULE}.npy"
    shape = (len(files), 3, size, size)
    images = _mapped(path, shape)
    if images is None:
        log.info("decoding %d images into %s", len(files), path)
        _decode_into(path, shape, files, remedy)
        images = _mapped(path, shape)
        if images is None:
            raise DataError(f"{path}, just written, cannot be read")
    return images


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in ``path``, or None if it is not a whole one of this shape."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    # As a plain array, which Ray stores without copying it first.
    return images.view(np.ndarray) if images.shape == shape and images.dtype == np.uint8 else None


def _decode_into(path: Path, shape: tuple[int, ...], files: Sequence[Path], remedy: str) -> None:
    def decode(file: Path) -> np.ndarray:
        try:
            return decode_image(file, shape[-1])
        except CorruptDataError as error:
            raise CorruptDataError(f"{error}; {remedy}") from None

    draft = path.with_name(f"_{path.name}.{uuid.uuid4().hex}")
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        # Written, not mapped: on a full disk a write says so, where a mapping ends the process.
        with draft.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(files), DECODE_CHUNK):
                file.write(np.stack(list(pool.map(decode, files[start : start + DECODE_CHUNK]))).tobytes())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def decode_image(path: Path, size: int) -> np.ndarray:
    """One image file as uint8 RGB [3, size, size]."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(read_image(path), (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))
