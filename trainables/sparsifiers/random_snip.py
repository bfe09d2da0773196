"""Random mask with SNIP's layer densities: the method that the authors' code trains under the name of SNIP (defect D3).

Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?", ICLR 2021, use this shuffle
as a test: does the selection of weights within a layer matter? ``shuffle`` works for every other method that ranks
weights before training too. This method has its own name in the figures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import sparsifiers
from sparsweep.trainables.sparsifiers.snip import SNIP


@sparsifiers.register
class RandomSNIP(SNIP):
    """Random mask with SNIP's layer densities, fixed from the start."""

    name: Literal["random_snip"] = "random_snip"  # type: ignore[assignment]
    shuffle: Literal[True] = Field(
        default=True, description="draw positions at random within each layer: only the layer counts come from SNIP"
    )
