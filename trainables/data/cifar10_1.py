"""CIFAR-10.1: newly collected test images of the classes of CIFAR-10, in a folder with its two NumPy files.

Recht et al., "Do ImageNet Classifiers Generalize to ImageNet?", ICML 2019. Version 6 has 2,000 images, version 4 has
2,021. It is no data set of its own: networks that were trained on CIFAR-10 are evaluated on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparsweep.trainables.data.image_cache import listing_digest
from sparsweep.trainables.data.paths import CorruptDataError, MissingDataError
from sparsweep.trainables.storage.filesystem import expand_home

VERSIONS = ("v6", "v4")
SHAPE = (32, 32, 3)
CLASSES = 10


def files(folder: str, version: str) -> dict[str, Path]:
    """Return the files with images and labels of a version, by name."""
    names = (f"cifar10.1_{version}_data.npy", f"cifar10.1_{version}_labels.npy")
    return {name: expand_home(folder) / name for name in names}


def read(folder: str, version: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 ``(N, 32, 32, 3)``, and labels, integers ``(N,)``.

    Raises:
        CorruptDataError: A file is unreadable or has another content.
    """
    paths = list(files(folder, version).values())
    try:
        images, labels = (np.load(path, mmap_mode="r") for path in paths)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptDataError(f"{folder}: cannot read CIFAR-10.1: {error}") from None
    are_integers = labels.ndim == 1 and labels.dtype.kind in "iu" and len(labels) > 0
    if not are_integers or not np.isin(labels, range(CLASSES)).all():
        raise CorruptDataError(f"{paths[1]}: must be labels from 0 to 9 (got {labels.dtype} {labels.shape}).")
    expected = (len(labels), *SHAPE)
    if images.dtype != np.uint8 or images.shape != expected:
        raise CorruptDataError(f"{paths[0]}: must be uint8 {expected} (got {images.dtype} {images.shape}).")
    return images, labels


def identify(folder: str) -> dict[str, str]:
    """Return ``version``, the newest in a folder, and ``file_digest``, the digest of names and sizes of its files.

    Raises:
        MissingDataError: A file is missing.
        CorruptDataError: A file is damaged.
    """
    complete = [version for version in VERSIONS if all(path.is_file() for path in files(folder, version).values())]
    if not complete:
        first = next(iter(files(folder, VERSIONS[0]).values()))
        raise MissingDataError(f"file not found (got {first}). Download CIFAR-10.1, or leave it out.")
    read(folder, complete[0])
    return {"version": complete[0], "file_digest": listing_digest(files(folder, complete[0]))}
