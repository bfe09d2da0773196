"""The linear filters of the corruptions, with the conventions of the libraries that the reference calls.

Images are arrays [N, H, W, C] in grey levels; nothing here is random.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse


def gaussian(images: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur in float32, edges continued: scikit-image's ``gaussian``, cut off at four standard deviations."""
    return ndimage.gaussian_filter(images.astype(np.float32), sigma, mode="nearest", truncate=4.0, axes=(1, 2))


def disk(radius: float, alias_blur: float) -> np.ndarray:
    """Kernel of a lens out of focus: pixels whose centre is within ``radius``, softened by a 3x3 Gaussian, sum 1.

    ``alias_blur`` is that Gaussian's standard deviation in pixels. The reference puts the same kernel into a field of
    17x17 zeros.
    """
    reach = math.ceil(radius) + 1  # the softening needs a margin of one pixel
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (x**2 + y**2 <= radius**2).astype(float)
    tail = math.exp(-1 / (2 * alias_blur**2))
    profile = np.array([tail, 1, tail]) / (1 + 2 * tail)
    return ndimage.correlate(inside / inside.sum(), np.outer(profile, profile), mode="constant")


def correlate(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Each channel correlated with ``kernel`` [K, K] in float32, mirrored about the edge pixels: OpenCV's filter2D."""
    return ndimage.correlate(images.astype(np.float32), kernel[None, :, :, None], mode="mirror")


def _zoomed_axis(length: int, factor: float) -> sparse.csr_array:
    """One axis of :func:`clipped_zoom`, [length, length]: each row holds the two weights of a linear interpolation."""
    cropped = math.ceil(length / factor)
    enlarged = round(cropped * factor)
    first, trim = (length - cropped) // 2, (enlarged - length) // 2
    # SciPy's zoom maps the first and last pixel centres onto each other.
    positions = first + (np.arange(length) + trim) * ((cropped - 1) / (enlarged - 1))
    left = np.minimum(positions.astype(int), length - 2)
    right_weight = positions - left
    rows = np.arange(length)
    return sparse.csr_array(
        (np.concatenate([1 - right_weight, right_weight]), (np.tile(rows, 2), np.concatenate([left, left + 1]))),
        shape=(length, length),
    )


def clipped_zoom(height: int, width: int, factor: float) -> sparse.csr_array:
    """The centre of an image enlarged by ``factor`` to the image's size, as a matrix [H*W, H*W] over its pixels."""
    return sparse.kron(_zoomed_axis(height, factor), _zoomed_axis(width, factor), format="csr")


@lru_cache(maxsize=8)
def zoom_blur_matrix(height: int, width: int, end: float) -> sparse.csr_array:
    """Mean of an image and its enlargements by 1, 1.01, ... up to ``end``, as one matrix [H*W, H*W], float32."""
    factors = np.arange(1, end, 0.01)  # rounding lets some ends in: which ones is part of the benchmark
    total = sparse.eye_array(height * width, format="csr")
    for factor in factors:
        total = total + clipped_zoom(height, width, float(factor))
    return (total / (len(factors) + 1)).astype(np.float32)


def transformed(images: np.ndarray, matrix: sparse.csr_array) -> np.ndarray:
    """Every channel of [N, H, W, C] as a vector of pixels, times ``matrix``; float32."""
    count, height, width, channels = images.shape
    pixels = images.transpose(1, 2, 0, 3).reshape(height * width, count * channels).astype(np.float32)
    product = matrix.astype(np.float32, copy=False) @ pixels
    return product.reshape(height, width, count, channels).transpose(2, 0, 1, 3)


def imagemagick_motion_blur(images: np.ndarray, angles: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """Motion blur as ImageMagick's MotionBlurImage does it; float32.

    Every pixel becomes the mean of the ``2 * radius + 1`` pixels on a ray that starts at it and leaves at the image's
    ``angles[i]`` (degrees, from right towards bottom), weighted by half a Gaussian of ``sigma`` pixels; positions are
    rounded to pixels (halves towards zero), edges continued.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    radians = np.deg2rad(angles)[:, None]
    down = np.ceil(steps * np.sin(radians) - 0.5).astype(int) + steps[-1]
    right = np.ceil(steps * np.cos(radians) - 0.5).astype(int) + steps[-1]
    count, height, width, channels = images.shape
    margin = (steps[-1], steps[-1])
    padded = np.pad(images, [(0, 0), margin, margin, (0, 0)], mode="edge").astype(np.float32)
    blurred = np.zeros((count, height, width, channels), np.float32)
    for image in range(count):
        for weight, y, x in zip(weights, down[image], right[image], strict=True):
            blurred[image] += weight * padded[image, y : y + height, x : x + width]
    return blurred
