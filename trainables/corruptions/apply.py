"""Images in, corrupted images out: one type for each image, one severity for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sparsweep.trainables.corruptions.pixels import luma, to_uint8
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs, Glass
from sparsweep.trainables.corruptions.registry import CORRUPTIONS
from sparsweep.trainables.corruptions.severities import SEVERITIES, constants, frost_scale
from sparsweep.trainables.corruptions.weather import load_photographs

SMALLEST_SIDE = 8
BATCH_PIXELS = 2**18  # an array of a batch is some megabytes: it stays in the caches


def corrupt(
    images: np.ndarray,
    types: str | Sequence[str] | np.ndarray,
    severity: int,
    seed: int,
    split: str,
    *,
    indices: Sequence[int] | np.ndarray | None = None,
    frost_folder: str | Path | None = None,
    glass: Glass = "copy",
) -> np.ndarray:
    """Each image under its type of corruption, as a new uint8 array of the shape of ``images``.

    ``images``: uint8 [N, C, H, W] with C of 1 or 3 and sides of at least 8 pixels. Grey images are corrupted as RGB
    with equal channels, and become grey again by the ITU-R 601 luma.
    ``types``: one name for all images, or N names (keys of ``CORRUPTIONS``). ``severity``: 1 to 6.
    ``indices``: place of each image in its ``split``, by default 0 to N-1. What is random about an image is derived
    from (``seed``, ``split``, its index, its type) alone: parts of a split, in any order, give the images of the whole.
    ``frost_folder``: photographs of frost, needed where ``frost`` is among the types.
    ``glass``: how ``glass_blur`` moves pixels.

    ValueError names what is wrong and what there is to choose from.
    """
    names = _checked_types(types, len(_checked_images(images)))
    if severity not in SEVERITIES:
        raise ValueError(f"severity: {severity!r} is not one of {', '.join(map(str, SEVERITIES))}")
    places = np.arange(len(images)) if indices is None else np.asarray(indices)
    if places.shape != (len(images),):
        raise ValueError(f"indices: {len(images)} images need as many indices, got shape {places.shape}")
    height, width = images.shape[2:]
    side = min(height, width)
    frosted = "frost" in names
    photographs = load_photographs(frost_folder, frost_scale(side), height, width) if frosted else ()
    corrupted = np.empty(images.shape, np.uint8)
    for name, batch in _batches(names, max(1, BATCH_PIXELS // (height * width))):
        sources = CorruptionInputs(seed, split, name, places[batch], photographs, glass)
        changed = CORRUPTIONS[name](_as_rgb(images[batch]), sources, *constants(name, severity, side))
        corrupted[batch] = _as_given(to_uint8(changed), images.shape[1])
    return corrupted


def _checked_images(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images: must be uint8 [N, 1 or 3, H, W], got {images.dtype} {list(images.shape)}")
    if min(images.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(f"images: sides must be at least {SMALLEST_SIDE} pixels, got {list(images.shape[2:])}")
    return images


def _checked_types(types: str | Sequence[str] | np.ndarray, count: int) -> np.ndarray:
    names = np.full(count, types) if isinstance(types, str) else np.asarray(types, dtype=str)
    if names.shape != (count,):
        raise ValueError(f"types: {count} images need one name or as many names, got shape {names.shape}")
    for name in np.unique(names):
        if name not in CORRUPTIONS:
            raise ValueError(f"types: unknown corruption {str(name)!r}; choose from {', '.join(sorted(CORRUPTIONS))}")
    return names


def _batches(names: np.ndarray, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """(type, positions of at most ``size`` images that have it), until every image was in one."""
    for name in np.unique(names):
        positions = np.flatnonzero(names == name)
        for start in range(0, len(positions), size):
            yield str(name), positions[start : start + size]


def _as_rgb(images: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as [N, H, W, 3], contiguous."""
    last = images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(last, (*last.shape[:3], 3)))


def _as_given(images: np.ndarray, channels: int) -> np.ndarray:
    """uint8 [N, H, W, 3] as [N, ``channels``, H, W]."""
    last = images if channels == 3 else np.rint(luma(images)).astype(np.uint8)
    return last.transpose(0, 3, 1, 2)
