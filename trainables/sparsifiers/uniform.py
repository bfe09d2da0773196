"""Random pruning before training, with the same density in every layer (paper, section 4.1: "Uniform pruning").

As in the authors' code the first convolution and the classifier are pruned like all other layers. Departure: the number
of active weights of each layer is exact (``counts``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask


@sparsifiers.register
class Uniform(RandomMask, MaskedSparsifier):
    """Random mask with the same density in every layer, fixed from the start."""

    name: Literal["uniform"] = "uniform"
    distribution: Literal["uniform"] = Field(default="uniform", description="layer densities")
