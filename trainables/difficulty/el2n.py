"""Hard samples by EL2N: the samples that networks early in training get most wrong.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021; paper, section 3.2.1. A few dense networks are trained on
the whole training set for the first ``epoch`` epochs of the normal schedule; a sample's score is its mean EL2N over
them, in evaluation mode and without augmentation. The paper does not say how many networks nor how many epochs;
the defaults are those that Data Diet recommends (10 networks, epoch 20 of 200).

Departure from the authors' code, towards the text: the norm is not squared (this matters once networks are averaged)
and networks are in evaluation mode; ``squared`` and ``mode`` do as they do (defect D18).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainables.difficulty.base import difficulties
from trainables.difficulty.ranking import Ranked


@difficulties.register
class EL2N(Ranked):
    """The samples with the highest (or lowest) EL2N score, at the data ratio."""

    name: Literal["el2n"] = "el2n"
    squared: bool = Field(default=False, description="the squared norm, as in the authors' code")

    @property
    def score(self) -> str:
        return "el2n_squared" if self.squared else "el2n"
