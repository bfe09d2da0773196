"""One-shot magnitude pruning with ERK layer densities (paper, section 4.1, Figure 8: "OMP_ERK").

As OMP, but each layer keeps the largest of its weights at its ERK density. Departure from the authors' code, as the
paper's text says: the authors' mask was random, and magnitudes had no effect (``shuffle``, D4).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import sparsifiers
from sparsweep.trainables.sparsifiers.omp import OMP


@sparsifiers.register
class OMPERK(OMP):
    """One-shot magnitude pruning within layers of ERK density, then training again from the dense weights."""

    name: Literal["omp_erk"] = "omp_erk"  # type: ignore[assignment]
    distribution: Literal["erk"] = Field(default="erk", description="layer densities")
