"""Grey levels: from arithmetic back to bytes, and from colour to grey."""

from __future__ import annotations

import numpy as np

# A result that floating point left this far below a whole grey level is that level: a blur of a constant image is the
# image, and a pixel that nothing happened to keeps its value.
ROUNDING = 1e-3


def to_uint8(values: np.ndarray) -> np.ndarray:
    """uint8 of grey levels: clipped to [0, 255], fractions cut off as in the reference (not rounded)."""
    return np.clip(values + ROUNDING, 0, 255).astype(np.uint8)


def luma(images: np.ndarray) -> np.ndarray:
    """Grey levels [..., 1] of RGB [..., 3] by the ITU-R 601 weights, fractions kept."""
    red, green, blue = (images[..., channel, None] for channel in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue
