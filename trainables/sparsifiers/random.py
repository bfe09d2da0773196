"""Random pruning before training, with ERK layer densities (paper, section 4.1: "Random pruning").

Liu et al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022. The mask is drawn once and stays fixed.
Departure from the authors' code: exact counts per layer (authors: independent draws per weight; see ``counts``).
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask


@sparsifiers.register
class Random(RandomMask, MaskedSparsifier):
    """Random mask with ERK layer densities, fixed from the start."""

    name: Literal["random"] = "random"
