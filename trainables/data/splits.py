"""Images held out of a training set, always the same ones. Each function gives (what is left, what is held out)."""

from __future__ import annotations

import numpy as np

ImagesAndLabels = tuple[np.ndarray, np.ndarray]
"""Images and labels."""

PERMUTATION_SEED = 10
"""The seed by which the authors' code holds out images of TinyImageNet."""


def split_last(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Hold out the last ``count`` images; both parts are views."""
    left = len(images) - count
    return (images[:left], labels[:left]), (images[left:], labels[left:])


def split_permuted(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Hold out ``count`` images of a fixed permutation, for images that lie in the order of their classes.

    The permutation is NumPy's legacy ``RandomState(10).permutation``, whose stream is frozen for ever; its last
    ``count`` entries are held out, as in the authors' code. Both parts keep the order of the images.
    """
    if count == 0:  # no copy
        return split_last(images, labels, 0)
    order = np.random.RandomState(PERMUTATION_SEED).permutation(len(images))
    left, held = np.sort(order[:-count]), np.sort(order[-count:])
    return (images[left], labels[left]), (images[held], labels[held])
