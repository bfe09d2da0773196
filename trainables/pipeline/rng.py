"""Random generators: one per (seed, purpose, keys), so that no draw depends on other draws.

Generators are on the CPU, so a subset, a batch order or a mask is the same on every node and device. Only the starting
points of attacks (megabytes per step) are drawn on the device.
"""

from __future__ import annotations

import hashlib

from sparsweep.trainables.lazy import torch


def derive(seed: int, purpose: str, *keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator that is seeded with the first 63 bits of the SHA-256 of (seed, purpose, keys).

    Two different argument lists give independent streams.

    Args:
        seed: Seed of the run.
        purpose: What the numbers are for, e.g. ``"order"``.
        *keys: Further keys, e.g. the epoch.
        device: Device of the generator.
    """
    name = repr((seed, purpose, *keys)).encode()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1)
    return generator
