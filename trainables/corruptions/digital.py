"""Corruptions of color, geometry and coding (Hendrycks & Dietterich, ICLR 2019, section 4.1).

Functions take uint8 images (N, H, W, 3) and return gray levels, not yet clipped and truncated to uint8.

The reference code converts to HSV to change value and saturation. This conversion is not necessary. At constant hue and
value, every channel is linear in the saturation. At constant hue and saturation, all channels are proportional to the
value.

Departure from the released code: the affine map of elastic transform samples at exact positions. The reference code
calls OpenCV, which rounds positions to 1/32 of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from sparsweep.trainables.corruptions.random_streams import CorruptionInputs
from sparsweep.trainables.lazy import ndimage


def brightness(images: np.ndarray, _: CorruptionInputs, added: float) -> np.ndarray:
    """Add ``added`` (fraction of white) to the HSV value, at most white. Hue and saturation do not change."""
    value = images.max(axis=3, keepdims=True).astype(float)
    brighter = np.minimum(value + 255 * added, 255)
    return np.where(value > 0, images * (brighter / np.maximum(value, 1)), brighter)


def saturate(images: np.ndarray, _: CorruptionInputs, factor: float, added: float) -> np.ndarray:
    """Change the HSV saturation to saturation * ``factor`` + ``added``, at most 1. Hue and value do not change.

    Gray has no hue. If ``added`` is above 0, gray becomes red (hue 0), as in the reference code.
    """
    value = images.max(axis=3, keepdims=True).astype(float)
    drop = value - images
    chroma = drop.max(axis=3, keepdims=True)
    saturation = chroma / np.maximum(value, 1)
    wanted = np.clip(factor * saturation + added, 0, 1)
    share = np.where(chroma > 0, drop / np.maximum(chroma, 1), [0, 1, 1])
    return value * (1 - wanted * share)


def contrast(images: np.ndarray, _: CorruptionInputs, factor: float) -> np.ndarray:
    """Multiply the distance of each pixel to the mean color of its image by ``factor``."""
    # An integer sum is exact in any order, so the result does not depend on the batch.
    means = images.sum(axis=(1, 2), keepdims=True, dtype=np.int64) / (images.shape[1] * images.shape[2])
    return means + factor * (images - means)


def elastic_transform(
    images: np.ndarray, sources: CorruptionInputs, strength: float, smoothness: float, jitter: float
) -> np.ndarray:
    """Apply a random affine map, then a smooth random displacement of the pixels, with linear interpolation.

    All lengths are fractions of the shorter image side.

    Args:
        images: uint8 (N, H, W, 3).
        sources: Random streams.
        strength: Factor on the displacement, which is uniform noise blurred by a Gaussian.
        smoothness: Standard deviation of that Gaussian.
        jitter: Maximum movement, in x and in y, of the three points that define the affine map.
    """
    side = min(images.shape[1:3])
    rows, columns = _affine_coordinates(images.shape[1], images.shape[2], sources.uniform(-1, 1, 3, 2) * jitter * side)
    moved = _sampled(images.astype(np.float32), rows, columns, "mirror")
    noise = sources.uniform(-1, 1, 2, *images.shape[1:3])
    shifts = ndimage.gaussian_filter(noise, smoothness * side, mode="reflect", truncate=3, axes=(2, 3))
    grid = np.mgrid[: images.shape[1], : images.shape[2]]
    rows, columns = (grid + strength * side * shifts).transpose(1, 0, 2, 3)
    return _sampled(moved, rows, columns, "reflect")


def _affine_coordinates(height: int, width: int, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the source (rows, columns) of all pixels, each (N, H, W), if three points near the center move.

    ``moves`` (N, 3, 2) are (right, down) in pixels.
    """
    center, reach = np.array([width // 2, height // 2]), min(height, width) // 3
    points = center + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    homogeneous = np.concatenate([points + moves, np.ones((len(moves), 3, 1))], axis=2)
    back = np.linalg.solve(homogeneous, np.broadcast_to(points.astype(float), moves.shape))[..., None, None]
    y, x = np.mgrid[:height, :width]
    columns, rows = (back[:, 0, axis] * x + back[:, 1, axis] * y + back[:, 2, axis] for axis in range(2))
    return rows, columns


def _sampled(images: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
    """Interpolate ``images`` linearly at positions ``rows`` and ``columns`` (N, H, W), with SciPy's border ``mode``."""
    sampled = np.empty_like(images)
    for image, y, x, out in zip(images, rows, columns, sampled, strict=True):
        for channel in range(images.shape[3]):
            out[..., channel] = ndimage.map_coordinates(image[..., channel], (y, x), order=1, mode=mode)
    return sampled


def pixelate(images: np.ndarray, _: CorruptionInputs, scale: float) -> np.ndarray:
    """Reduce each image to ``scale`` times its size and enlarge it again, both by PIL's box filter."""
    height, width = images.shape[1:3]
    small = int(width * scale), int(height * scale)

    def coarse(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return _through_pil(images, coarse)


def jpeg_compression(images: np.ndarray, _: CorruptionInputs, quality: int) -> np.ndarray:
    """Encode as JPEG of ``quality`` with PIL and decode. Other builds of the JPEG library can round differently."""

    def reread(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _through_pil(images, reread)


def _through_pil(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])
