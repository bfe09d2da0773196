"""Deterministic validation splits. Each function returns (remaining images, held-out images), both with labels."""

from __future__ import annotations

import numpy as np

ImagesAndLabels = tuple[np.ndarray, np.ndarray]
"""Images (N, C, H, W) and labels (N,)."""

PERMUTATION_SEED = 10
"""Seed of the validation split of TinyImageNet in the authors' code."""


def split_last(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Hold out the last images. Both parts are views.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        count: Number of images to hold out.
    """
    left = len(images) - count
    return (images[:left], labels[:left]), (images[left:], labels[left:])


def split_permuted(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Hold out images by a fixed random permutation. Use it for images that are sorted by class.

    The permutation is NumPy's legacy ``RandomState(10).permutation``, whose stream never changes. Its last ``count``
    entries are held out, as in the authors' code. Both parts keep the order of the images.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        count: Number of images to hold out.
    """
    if count == 0:  # avoids a copy
        return split_last(images, labels, 0)
    order = np.random.RandomState(PERMUTATION_SEED).permutation(len(images))
    left, held = np.sort(order[:-count]), np.sort(order[-count:])
    return (images[left], labels[left]), (images[held], labels[held])
