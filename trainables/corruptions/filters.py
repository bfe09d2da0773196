"""Deterministic linear filters, with the conventions of the libraries that the reference code calls.

Images are arrays (N, H, W, C) of gray levels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sparsweep.trainables.lazy import ndimage, sparse


def gaussian(images: np.ndarray, sigma: float) -> np.ndarray:
    """Apply a Gaussian blur of ``sigma`` pixels: float32, edge pixels repeated, truncated at 4 sigma.

    Equals scikit-image's ``gaussian``.
    """
    return ndimage.gaussian_filter(images.astype(np.float32), sigma, mode="nearest", truncate=4.0, axes=(1, 2))


def disk(radius: float, alias_blur: float) -> np.ndarray:
    """Return the kernel (K, K) of a lens out of focus, with sum 1.

    The kernel is a disk of pixels with centers within ``radius``, blurred by a 3x3 Gaussian. The reference code puts
    the same kernel into a field of 17x17 zeros.

    Args:
        radius: Radius of the disk in pixels.
        alias_blur: Standard deviation of the Gaussian in pixels.
    """
    reach = math.ceil(radius) + 1  # the Gaussian needs a margin of one pixel
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (x**2 + y**2 <= radius**2).astype(float)
    tail = math.exp(-1 / (2 * alias_blur**2))
    profile = np.array([tail, 1, tail]) / (1 + 2 * tail)
    return ndimage.correlate(inside / inside.sum(), np.outer(profile, profile), mode="constant")


def correlate(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate each channel with ``kernel`` (K, K) in float32, mirrored at edge pixels. Equals OpenCV's filter2D."""
    return ndimage.correlate(images.astype(np.float32), kernel[None, :, :, None], mode="mirror")


def _zoomed_axis(length: int, factor: float) -> sparse.csr_array:
    """Return the matrix (length, length) of one axis of :func:`clipped_zoom` (linear interpolation)."""
    cropped = math.ceil(length / factor)
    enlarged = round(cropped * factor)
    first, trim = (length - cropped) // 2, (enlarged - length) // 2
    # SciPy's zoom maps the first pixel center to the first, and the last to the last.
    positions = first + (np.arange(length) + trim) * ((cropped - 1) / (enlarged - 1))
    left = np.minimum(positions.astype(int), length - 2)
    right_weight = positions - left
    rows = np.arange(length)
    return sparse.csr_array(
        (np.concatenate([1 - right_weight, right_weight]), (np.tile(rows, 2), np.concatenate([left, left + 1]))),
        shape=(length, length),
    )


def clipped_zoom(height: int, width: int, factor: float) -> sparse.csr_array:
    """Return the matrix (H * W, H * W) that enlarges the center of an image by ``factor`` to the image size.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        factor: Zoom factor, at least 1.
    """
    return sparse.kron(_zoomed_axis(height, factor), _zoomed_axis(width, factor), format="csr")


@lru_cache(maxsize=8)
def zoom_blur_matrix(height: int, width: int, end: float) -> sparse.csr_array:
    """Return the mean of an image and its enlargements by 1, 1.01, ..., as a float32 matrix (H * W, H * W).

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        end: End of the zoom factors, excluded except for rounding errors.
    """
    factors = np.arange(1, end, 0.01)  # rounding errors include some ends; the benchmark depends on them
    total = sparse.eye_array(height * width, format="csr")
    for factor in factors:
        total = total + clipped_zoom(height, width, float(factor))
    return (total / (len(factors) + 1)).astype(np.float32)


def transformed(images: np.ndarray, matrix: sparse.csr_array) -> np.ndarray:
    """Multiply each channel, as a vector of pixels, by a matrix.

    Args:
        images: (N, H, W, C).
        matrix: (H * W, H * W).

    Returns:
        float32 (N, H, W, C).
    """
    count, height, width, channels = images.shape
    pixels = images.transpose(1, 2, 0, 3).reshape(height * width, count * channels).astype(np.float32)
    product = matrix.astype(np.float32, copy=False) @ pixels
    return product.reshape(height, width, count, channels).transpose(2, 0, 1, 3)


def imagemagick_motion_blur(images: np.ndarray, angles: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """Apply the motion blur of ImageMagick's MotionBlurImage.

    A pixel becomes the weighted mean of ``2 * radius + 1`` pixels on a ray that starts at it. The weights are half a
    Gaussian. Positions are rounded to pixels (halves towards zero), and edge pixels are repeated.

    Args:
        images: (N, H, W, C).
        angles: (N,): angle of the ray in degrees, from right towards bottom.
        radius: Half the length of the ray in pixels.
        sigma: Standard deviation of the Gaussian in pixels.

    Returns:
        float32 (N, H, W, C).
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
