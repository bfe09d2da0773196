"""Cache of decoded images: an array file, memory-mapped by later runs.

Decoding 110,000 small JPEG files takes about a minute, memory-mapping the result takes almost no time. The name of the
array file contains a digest of its source files. The file is written atomically and can be deleted at any time.
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
"""Name of the folder with the array files, inside the folder of all data sets."""
RULE = 2
"""Version of the decoder. Increase it when the pixels of a decoded file change: older array files are then ignored."""
DECODE_CHUNK = 1000
"""Number of images in memory during decoding."""


def digest(lines: Iterable[str]) -> str:
    """Return the first 16 hex digits of the SHA-256 of ``lines``."""
    text = "".join(f"{line}\n" for line in lines)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def listing_digest(files: Mapping[str, Path]) -> str:
    """Return the digest of the names and sizes of ``files``, in order. The content is not read."""
    return digest(f"{name} {path.stat().st_size}" for name, path in files.items())


def state_digest(files: Iterable[Path]) -> str:
    """Return the digest of the paths, sizes and modification times of ``files``. Any rewrite changes it."""
    states = ((path, path.stat()) for path in files)
    return digest(f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in states)


def load_or_decode(files: Sequence[Path], size: int, cache: Path, remedy: str) -> np.ndarray:
    """Return image files as a read-only, memory-mapped uint8 RGB array (N, 3, size, size).

    An image of another size is scaled bilinearly (shorter side to ``size``), then center-cropped.

    Args:
        files: Paths of the images.
        size: Side of the result in pixels.
        cache: Folder of the array files.
        remedy: Fix to append to error messages.

    Raises:
        CorruptDataError: An image cannot be decoded.
        DataError: The array file cannot be written or read.
    """
    path = cache / f"{state_digest(files)}-{size}-{RULE}.npy"
    shape = (len(files), 3, size, size)
    images = _mapped(path, shape)
    if images is None:
        log.info("decoding %d images into %s", len(files), path)
        _decode_into(path, shape, files, remedy)
        images = _mapped(path, shape)
        if images is None:
            raise DataError(f"{path} cannot be read, although it was just written")
    return images


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the array in ``path``, or None if it is missing, damaged or of another shape."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    # A plain array: Ray copies a memmap before it stores it.
    return images.view(np.ndarray) if images.shape == shape and images.dtype == np.uint8 else None


def _decode_into(path: Path, shape: tuple[int, ...], files: Sequence[Path], remedy: str) -> None:
    def decode(file: Path) -> np.ndarray:
        try:
            return decode_image(file, shape[-1])
        except CorruptDataError as error:
            raise CorruptDataError(f"{error}; {remedy}") from None

    temporary = path.with_name(f"_{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        # Written, not memory-mapped: on a full disk a write raises OSError, but a mapping kills the process.
        with temporary.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(files), DECODE_CHUNK):
                file.write(np.stack(list(pool.map(decode, files[start : start + DECODE_CHUNK]))).tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def decode_image(path: Path, size: int) -> np.ndarray:
    """Return one image file as uint8 RGB (3, size, size), scaled and center-cropped."""
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(read_image(path), (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))
