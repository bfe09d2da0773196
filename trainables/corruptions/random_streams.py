"""What a corruption draws from beside the images: random streams, photographs of frost, and how glass blur moves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Glass = Literal["copy", "swap"]
"""How glass blur moves a pixel: ``copy`` its partner's value over it (as the released code does), or ``swap`` both."""


def image_rng(seed: int, purpose: str, *keys: int | str) -> np.random.Generator:
    """A generator for ``purpose`` and further ``keys``, seeded from ``seed``: SHA-256 of the list, first 128 bits.

    The scheme of :func:`trainables.pipeline.rng.derive` for NumPy. The bit generator is named, since NumPy may change
    its default; NumPy may also change how it makes, say, normal numbers from the same bits (NEP 19).
    """
    name = repr((seed, purpose, *keys)).encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name).digest()[:16], "big")))


@dataclass(frozen=True)
class CorruptionInputs:
    """What one type of corruption draws from for the N images of one batch.

    Image i has a stream of its own, derived from (``seed``, ``split``, ``indices[i]``, ``corruption``) alone, so that
    what happens to it depends neither on the batch nor on the order. The severity is left out: the same flakes fall at
    every severity, only more of them. Every method stacks one draw from each stream to an array [N, ...].
    """

    seed: int
    split: str
    corruption: str
    indices: Sequence[int]
    photographs: Sequence[np.ndarray] = ()
    glass: Glass = "copy"

    @cached_property
    def streams(self) -> list[np.random.Generator]:
        """Made when first asked for: most blurs draw nothing."""
        return [image_rng(self.seed, "corruption", self.split, int(i), self.corruption) for i in self.indices]

    def each(self, draw: Callable[[np.random.Generator], object]) -> np.ndarray:
        """Return one draw per stream, stacked."""
        return np.stack([np.asarray(draw(stream)) for stream in self.streams])

    def normal(self, *shape: int) -> np.ndarray:
        """float32, mean 0, standard deviation 1."""
        return self.each(lambda stream: stream.standard_normal(shape, dtype=np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """float64 in [``low``, ``high``)."""
        return self.each(lambda stream: stream.uniform(low, high, shape))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """int8 in [``low``, ``high``)."""
        return self.each(lambda stream: stream.integers(low, high, shape, dtype=np.int8))

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """int64 counts; image i has the means ``means[i]``."""
        return np.stack([stream.poisson(mean) for stream, mean in zip(self.streams, means, strict=True)])
