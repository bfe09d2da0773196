"""Conversions of gray levels: floats to uint8, and RGB to gray."""

from __future__ import annotations

import numpy as np

# Rounding errors can put a value slightly below its integer level; truncation would then lose one level. With this
# tolerance, a blur of a constant image is that image, and an unchanged pixel keeps its value.
ROUNDING = 1e-3


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Convert gray levels to uint8: clip to [0, 255] and truncate fractions (no rounding), as in the reference code."""
    return np.clip(values + ROUNDING, 0, 255).astype(np.uint8)


def luma(images: np.ndarray) -> np.ndarray:
    """Return the gray levels (..., 1) of RGB (..., 3) by the ITU-R 601 weights, without rounding."""
    red, green, blue = (images[..., channel, None] for channel in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue
