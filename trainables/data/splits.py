"""Deterministic validation splits. Each function returns (remaining images, held-out images), both with labels."""

from __future__ import annotations

import numpy as np

from sparsweep.trainables.data.paths import CorruptDataError

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


def split_stratified(
    images: np.ndarray, labels: np.ndarray, fraction: float, seed: int
) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Split off a share of each class at random, for example as a test set. Both parts keep the order of the images.

    The classes get the nearest integers to their share by largest remainders, so the total is exact. The permutations
    are NumPy's legacy ``RandomState(seed).permutation`` of one class after the other, whose stream never changes.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        fraction: Share to split off, in (0, 1).
        seed: Seed of the split.

    Raises:
        CorruptDataError: A class keeps no image, or none is split off.
    """
    random = np.random.RandomState(seed)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    exact = np.array([len(group) * fraction for group in groups])
    counts = np.floor(exact).astype(int)
    largest = np.argsort(counts - exact, kind="stable")
    counts[largest[: round(len(labels) * fraction) - counts.sum()]] += 1
    sizes = np.array([len(group) for group in groups])
    if not counts.any() or (counts == sizes).any():
        shortest = f"{sizes.min()} images in the smallest class, {sizes.sum()} in all"
        raise CorruptDataError(f"test_fraction: {fraction:g} leaves a part without images ({shortest}). Change it.")
    chosen = [random.permutation(group)[:count] for group, count in zip(groups, counts, strict=True)]
    held = np.sort(np.concatenate(chosen))
    left = np.setdiff1d(np.arange(len(labels)), held)
    return (images[left], labels[left]), (images[held], labels[held])
