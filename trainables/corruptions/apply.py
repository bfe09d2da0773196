"""Corruption of a batch of images: one type per image, one severity for all images."""

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
BATCH_PIXELS = 2**18  # the arrays of a batch have a few megabytes and fit into the CPU caches


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
    """Corrupt images and return a new uint8 array of the same shape.

    Gray images are corrupted as RGB, then converted back by the ITU-R 601 luma. The random numbers of an image depend
    only on (seed, split, index, type). So any subset of a split gives the same images as the complete split.

    Args:
        images: uint8 (N, C, H, W) with C = 1 or 3 and sides of at least 8 pixels.
        types: One name for all images, or N names (keys of ``CORRUPTIONS``).
        severity: 1 to 6.
        seed: Seed of the random numbers.
        split: Name of the split, e.g. "train".
        indices: Index of each image in its split. Default: 0 to N - 1.
        frost_folder: Folder with photographs of frost. Required for the type ``frost``.
        glass: How ``glass_blur`` moves pixels.

    Raises:
        ValueError: An argument is invalid. The message lists the valid choices.
    """
    count = len(_checked_images(images))
    names, positions = _checked_types(types, count), _checked_positions(indices, count)
    _check_severity(severity)
    height, width, side = *images.shape[2:], min(images.shape[2:])
    photographs = load_photographs(frost_folder, frost_scale(side), height, width) if "frost" in names else ()
    corrupted = np.empty(images.shape, np.uint8)
    for name, batch in _batches(names, max(1, BATCH_PIXELS // (height * width))):
        sources = CorruptionInputs(seed, split, name, positions[batch], photographs, glass)
        levels = CORRUPTIONS[name](_to_rgb(images[batch]), sources, *constants(name, severity, side))
        corrupted[batch] = _from_rgb(to_uint8(levels), images.shape[1])
    return corrupted


def _checked_images(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images: must be uint8 (N, 1 or 3, H, W) (got {images.dtype} {tuple(images.shape)})")
    if min(images.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(f"images: sides must be at least {SMALLEST_SIDE} pixels (got {tuple(images.shape[2:])})")
    return images


def _checked_types(types: str | Sequence[str] | np.ndarray, count: int) -> np.ndarray:
    names = np.full(count, types) if isinstance(types, str) else np.asarray(types, dtype=str)
    if names.shape != (count,):
        raise ValueError(f"types: must be one name, or one name per image, {count} (got shape {names.shape})")
    for name in np.unique(names):
        if name not in CORRUPTIONS:
            raise ValueError(f"types: unknown corruption {str(name)!r}; choose from {', '.join(sorted(CORRUPTIONS))}")
    return names


def _check_severity(severity: int) -> None:
    if severity not in SEVERITIES:
        raise ValueError(f"severity: must be one of {', '.join(map(str, SEVERITIES))} (got {severity!r})")


def _checked_positions(indices: Sequence[int] | np.ndarray | None, count: int) -> np.ndarray:
    positions = np.arange(count) if indices is None else np.asarray(indices)
    if positions.shape != (count,):
        raise ValueError(f"indices: must have one index per image, {count} (got shape {positions.shape})")
    return positions


def _batches(names: np.ndarray, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (type, positions of at most ``size`` images of that type) until all images are covered."""
    for name in np.unique(names):
        positions = np.flatnonzero(names == name)
        for start in range(0, len(positions), size):
            yield str(name), positions[start : start + size]


def _to_rgb(images: np.ndarray) -> np.ndarray:
    """Convert (N, C, H, W) to contiguous (N, H, W, 3)."""
    last = images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(last, (*last.shape[:3], 3)))


def _from_rgb(images: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 (N, H, W, 3) to (N, channels, H, W)."""
    last = images if channels == 3 else np.rint(luma(images)).astype(np.uint8)
    return last.transpose(0, 3, 1, 2)
