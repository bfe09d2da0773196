"""Helpers of the corruption tests: preset random numbers, test images, and filters as plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage


class PresetDraws:
    """Replacement of ``CorruptionInputs`` for one image: each draw returns the next preset array.

    Attributes:
        requests: Arguments of the draws so far.
    """

    glass = "copy"

    def __init__(self, *draws: object, photographs: tuple[np.ndarray, ...] = ()) -> None:
        self.draws = [np.asarray(draw)[None] for draw in draws]
        self.indices = [0]
        self.photographs = photographs
        self.requests: list[tuple[object, ...]] = []

    def _next(self, *arguments: object) -> np.ndarray:
        self.requests.append(arguments)
        return self.draws.pop(0)

    normal = uniform = integers = poisson = _next


def ramps(height: int = 8, width: int = 8) -> np.ndarray:
    """Return a rough image (1, H, W, 3), uint8: quadratic ramps modulo 256, different in each channel."""
    y, x = np.mgrid[:height, :width]
    wrapped = (7 * y * y + 13 * x + 31 * x * y) % 256
    other = (7 * x * x + 13 * y + 31 * x * y) % 256
    return np.stack([wrapped, other, 255 - wrapped], axis=-1).astype(np.uint8)[None]


def smooth_images(count: int, size: int) -> np.ndarray:
    """Return images (N, 3, size, size), uint8, that vary over 1/8 of their side. Each channel spans 20 to 235."""
    noise = np.random.default_rng(0).standard_normal((count, 3, size, size))
    smooth = ndimage.gaussian_filter(noise, size / 8, mode="wrap", axes=(2, 3))
    low, high = smooth.min(axis=(2, 3), keepdims=True), smooth.max(axis=(2, 3), keepdims=True)
    return np.uint8(20 + 215 * (smooth - low) / (high - low))


def clamped(position: int, length: int) -> int:
    return min(max(position, 0), length - 1)


def mirrored(position: int, length: int) -> int:
    """Reflect a position at the border, as in d c b | a b c d | c b a: the edge pixel is not repeated."""
    position %= 2 * length - 2
    return min(position, 2 * length - 2 - position)


def filtered(image: np.ndarray, kernel: np.ndarray, border: Callable[[int, int], int]) -> np.ndarray:
    """Correlate an image (H, W, C) with an odd square kernel, pixel by pixel."""
    height, width = image.shape[:2]
    reach = len(kernel) // 2
    out = np.zeros(image.shape)
    for y, x in itertools.product(range(height), range(width)):
        for down, right in itertools.product(range(-reach, reach + 1), repeat=2):
            weight = kernel[down + reach, right + reach]
            out[y, x] += weight * image[border(y + down, height), border(x + right, width)]
    return out


def gaussian_kernel(sigma: float) -> np.ndarray:
    """Return a Gaussian kernel with sum 1, truncated at four standard deviations, rounded to whole pixels."""
    reach = int(4 * sigma + 0.5)
    weights = [
        [math.exp(-(y * y + x * x) / (2 * sigma**2)) for x in range(-reach, reach + 1)]
        for y in range(-reach, reach + 1)
    ]
    return np.array(weights) / np.sum(weights)


def within_one_level(ours: np.ndarray, reference: np.ndarray) -> bool:
    """Return whether gray levels differ by at most 1 after both are clipped and truncated to integers."""
    whole = [np.clip(values, 0, 255).astype(np.uint8).astype(int) for values in (ours, reference)]
    return bool(np.abs(whole[0] - whole[1]).max() <= 1)
