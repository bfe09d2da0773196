"""Inputs of a corruption in addition to the images: random streams, photographs of frost, form of glass blur."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Glass = Literal["copy", "swap"]
"""Form of glass blur. ``copy``: a pixel takes the value of its partner (released code). ``swap``: exchange both."""


def image_rng(seed: int, purpose: str, *keys: int | str) -> np.random.Generator:
    """Return a generator that is seeded with the first 128 bits of the SHA-256 of (seed, purpose, keys).

    This is :func:`trainables.pipeline.rng.derive` for NumPy. The bit generator is explicit, because NumPy can change
    its default. NumPy can also change how it computes, e.g., normal numbers from the same bits (NEP 19).

    Args:
        seed: Seed of the run.
        purpose: What the numbers are for.
        *keys: Further keys, e.g. an image index.
    """
    name = repr((seed, purpose, *keys)).encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name).digest()[:16], "big")))


@dataclass(frozen=True)
class CorruptionInputs:
    """Random streams and other inputs of one corruption type, for the N images of a batch.

    Image i has its own stream, which depends only on (seed, split, indices[i], corruption). The result for an image
    therefore depends neither on the batch nor on the order. The stream does not depend on the severity: a higher
    severity adds flakes to the same snow. Every method stacks one draw per stream into an array (N, ...).

    Attributes:
        seed: Seed of the random numbers.
        split: Name of the split.
        corruption: Name of the type.
        indices: Index of each image in its split.
        photographs: uint8 photographs (H, W, 3) of frost, for the type ``frost``.
        glass: Form of glass blur.
    """

    seed: int
    split: str
    corruption: str
    indices: Sequence[int]
    photographs: Sequence[np.ndarray] = ()
    glass: Glass = "copy"

    @cached_property
    def streams(self) -> list[np.random.Generator]:
        """Random streams of the images. Created on first use, because most blurs draw nothing."""
        return [image_rng(self.seed, "corruption", self.split, int(i), self.corruption) for i in self.indices]

    def each(self, draw: Callable[[np.random.Generator], object]) -> np.ndarray:
        """Return the results of ``draw`` for all streams, stacked: (N, ...)."""
        return np.stack([np.asarray(draw(stream)) for stream in self.streams])

    def normal(self, *shape: int) -> np.ndarray:
        """Draw float32 normal numbers (N, *shape) with mean 0 and standard deviation 1."""
        return self.each(lambda stream: stream.standard_normal(shape, dtype=np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Draw float64 uniform numbers (N, *shape) in [``low``, ``high``)."""
        return self.each(lambda stream: stream.uniform(low, high, shape))

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Draw int8 uniform integers (N, *shape) in [``low``, ``high``)."""
        return self.each(lambda stream: stream.integers(low, high, shape, dtype=np.int8))

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """Draw int64 Poisson counts of the shape of ``means`` (N, ...)."""
        return np.stack([stream.poisson(mean) for stream, mean in zip(self.streams, means, strict=True)])
