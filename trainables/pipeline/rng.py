"""All randomness: one generator for each (seed, purpose, keys), so that nothing depends on what else was drawn.

Generators live on the CPU whatever the device, so that a subset, an order or a mask is the same on every machine; only
the starts of attacks, megabytes a step, are drawn on the device.
"""

from __future__ import annotations

import hashlib

from sparsweep.trainables.lazy import torch


def derive(seed: int, purpose: str, *keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for ``purpose`` (say ``"order"``) and further ``keys`` (say the epoch), seeded from ``seed``.

    Two different argument lists give independent streams (SHA-256 of the list, first 63 bits).
    """
    name = repr((seed, purpose, *keys)).encode()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1)
    return generator
