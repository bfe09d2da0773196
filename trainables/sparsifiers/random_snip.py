"""A random mask with the layer densities of SNIP: what the authors' code trains under the name of SNIP (defect D3).

Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?", ICLR 2021, ask by such
shuffling whether it matters which weights of a layer are kept. Every other method that ranks weights before
training can be shuffled too (``shuffle``); this one stands by its name in the figures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import sparsifiers
from sparsweep.trainables.sparsifiers.snip import SNIP


@sparsifiers.register
class RandomSNIP(SNIP):
    """A random mask with SNIP's layer densities, fixed from the start."""

    name: Literal["random_snip"] = "random_snip"  # type: ignore[assignment]
    shuffle: Literal[True] = Field(
        default=True, description="within each layer positions are drawn: only the layer counts are SNIP's"
    )
