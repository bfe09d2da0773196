"""Random assignment of corruption types to the images of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsweep.trainables.corruptions.random_streams import image_rng


def assign(
    count: int,
    labels: np.ndarray | None,
    types: Sequence[str],
    assignment: str,
    skew: float,
    seed: int,
    split: str,
) -> np.ndarray:
    """Draw the corruption type of each image: int64 (count,), positions in ``types``.

    - ``uniform``: each image has a random type.
    - ``balanced``: all types have the same number of images (within one), in random order.
    - ``class_skewed``: with probability ``skew``, an image has the type of its class (class modulo the number of
      types), else a random other type (Nam et al., Learning from Failure, NeurIPS 2020). Departure: they fix the number
      of images with the type of their class; here it is random.

    Args:
        count: Number of images.
        labels: int (count,). Only ``class_skewed`` uses them.
        types: Names of the types.
        assignment: Name of the rule.
        skew: Probability in [0, 1]. Only ``class_skewed`` uses it.
        seed: Seed of the random numbers.
        split: Name of the split. The result depends on seed and split.

    Raises:
        ValueError: ``assignment`` is unknown, or an argument is invalid for it.
    """
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"assignment: unknown {assignment!r}; choose from {', '.join(ASSIGNMENTS)}")
    if not types:
        raise ValueError("types: must have at least one type (got none)")
    generator = image_rng(seed, "corruption types", split)
    return ASSIGNMENTS[assignment](generator, count, len(types), labels, skew)


def _uniform(generator: np.random.Generator, count: int, types: int, _: np.ndarray | None, __: float) -> np.ndarray:
    return generator.integers(types, size=count)


def _balanced(generator: np.random.Generator, count: int, types: int, _: np.ndarray | None, __: float) -> np.ndarray:
    return generator.permutation(np.arange(count) % types)


def _class_skewed(
    generator: np.random.Generator, count: int, types: int, labels: np.ndarray | None, skew: float
) -> np.ndarray:
    if labels is None or len(labels) != count:
        raise ValueError(f"labels: class_skewed needs one label per image, {count}")
    if types < 2:
        raise ValueError("types: class_skewed needs at least two types (got 1)")
    if not 0 <= skew <= 1:
        raise ValueError(f"skew: must be a probability in [0, 1] (got {skew!r})")
    aligned = generator.random(count) < skew
    shift = np.where(aligned, 0, generator.integers(1, types, size=count))
    return (np.asarray(labels) + shift) % types


ASSIGNMENTS: dict[str, Callable[[np.random.Generator, int, int, np.ndarray | None, float], np.ndarray]] = {
    "uniform": _uniform,
    "balanced": _balanced,
    "class_skewed": _class_skewed,
}
