"""Random pruning before training, with ERK layer densities (paper, section 4.1: "Random pruning").

Liu et al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022. The mask is drawn once and stays. Departure
from the authors' code: exact counts a layer, where it draws each weight by itself (``counts``).
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask


@sparsifiers.register
class Random(RandomMask, MaskedSparsifier):
    """A random mask with ERK layer densities, fixed from the start."""

    name: Literal["random"] = "random"
