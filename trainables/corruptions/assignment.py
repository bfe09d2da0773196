"""Which image gets which type of corruption: drawn once for a whole split."""

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
    """Positions in ``types`` for ``count`` images, int64 [count], drawn from (``seed``, ``split``) alone.

    ``assignment``: ``uniform`` draws each image's type by itself; ``balanced`` gives every type to equally many images,
    to within one, in random order; ``class_skewed`` gives an image with probability ``skew`` (in [0, 1]) the type
    aligned to its class (class modulo the number of types), else one of the others with equal chances (Nam et al.,
    Learning from Failure, NeurIPS 2020; they fix the counts, here they are drawn).
    Only ``class_skewed`` reads ``labels`` (int [count]) and ``skew``.

    ValueError for an unknown ``assignment``, or one that cannot be made.
    """
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"assignment: unknown {assignment!r}; choose from {', '.join(ASSIGNMENTS)}")
    if not types:
        raise ValueError("types: at least one is needed, got none")
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
        raise ValueError(f"labels: class_skewed needs one for each of {count} images")
    if types < 2:
        raise ValueError("types: class_skewed needs at least two, got 1")
    if not 0 <= skew <= 1:
        raise ValueError(f"skew: {skew!r} is not a probability in [0, 1]")
    aligned = generator.random(count) < skew
    shift = np.where(aligned, 0, generator.integers(1, types, size=count))
    return (np.asarray(labels) + shift) % types


ASSIGNMENTS: dict[str, Callable[[np.random.Generator, int, int, np.ndarray | None, float], np.ndarray]] = {
    "uniform": _uniform,
    "balanced": _balanced,
    "class_skewed": _class_skewed,
}
