"""Noise in every pixel and channel (Hendrycks & Dietterich, ICLR 2019, section 4.1).

Functions take uint8 images [N, H, W, 3] and give grey levels, still to be clipped and truncated to uint8.
"""

from __future__ import annotations

import numpy as np

from sparsweep.trainables.corruptions.random_streams import CorruptionInputs


def gaussian_noise(images: np.ndarray, sources: CorruptionInputs, sd: float) -> np.ndarray:
    """X + n with n normal, of standard deviation ``sd`` as a fraction of white: noise of a sensor in low light."""
    return images + 255 * sd * sources.normal(*images.shape[1:])


def shot_noise(images: np.ndarray, sources: CorruptionInputs, photons: float) -> np.ndarray:
    """Poisson counts of light; a white pixel counts ``photons`` on average, so fewer of them are noisier."""
    return sources.poisson(images * (photons / 255)) * (255 / photons)


def impulse_noise(images: np.ndarray, sources: CorruptionInputs, amount: float) -> np.ndarray:
    """Salt and pepper: a fraction ``amount`` of the values becomes black or white, each with the same chance."""
    chance = sources.uniform(0, 1, *images.shape[1:])
    return np.where(chance < amount / 2, 0, np.where(chance >= 1 - amount / 2, 255, images))


def speckle_noise(images: np.ndarray, sources: CorruptionInputs, sd: float) -> np.ndarray:
    """X + x n with n normal of standard deviation ``sd``: noise that grows with the brightness."""
    return images * (1 + sd * sources.normal(*images.shape[1:]))
