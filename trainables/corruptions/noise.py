"""Noise per pixel and channel (Hendrycks & Dietterich, ICLR 2019, section 4.1).

Functions take uint8 images (N, H, W, 3) and return gray levels, not yet clipped and truncated to uint8.
"""

from __future__ import annotations

import numpy as np

from sparsweep.trainables.corruptions.random_streams import CorruptionInputs


def gaussian_noise(images: np.ndarray, sources: CorruptionInputs, sd: float) -> np.ndarray:
    """Return x + n with normal n of standard deviation ``sd`` (fraction of white): sensor noise in low light."""
    return images + 255 * sd * sources.normal(*images.shape[1:])


def shot_noise(images: np.ndarray, sources: CorruptionInputs, photons: float) -> np.ndarray:
    """Replace each value by a Poisson count. A white pixel counts ``photons`` on average; fewer photons, more noise."""
    return sources.poisson(images * (photons / 255)) * (255 / photons)


def impulse_noise(images: np.ndarray, sources: CorruptionInputs, amount: float) -> np.ndarray:
    """Set a fraction ``amount`` of the values to black or white, with equal probability (salt and pepper)."""
    uniform = sources.uniform(0, 1, *images.shape[1:])
    return np.where(uniform < amount / 2, 0, np.where(uniform >= 1 - amount / 2, 255, images))


def speckle_noise(images: np.ndarray, sources: CorruptionInputs, sd: float) -> np.ndarray:
    """Return x + x n with normal n of standard deviation ``sd``: noise that grows with brightness."""
    return images * (1 + sd * sources.normal(*images.shape[1:]))
