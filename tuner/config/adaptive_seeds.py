"""Adaptive number of seeds per point: every point starts with ``from`` seeds and gets one more at a time, up to ``to``.

A point gets another seed while its comparison is undecided. The comparison uses the paired differences to dense in
``test_accuracy``. It is undecided while its confidence interval contains 0 and is wider than ``margin``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sparsweep.trainables.specs.base import FrozenModel, SpecError

MAX_SEEDS = 10_000


class AdaptiveSeeds(FrozenModel):
    """Settings of adaptive seeds (see the module docstring for the rule)."""

    first: int = Field(default=0, ge=0, description="first seed; the next seeds are consecutive")
    start: int = Field(alias="from", ge=2, le=MAX_SEEDS, description="initial number of seeds per point")
    most: int = Field(alias="to", le=MAX_SEEDS, description="maximum number of seeds per point")
    until: Literal["decided"] = Field(default="decided", description="condition after which a point gets no more seeds")
    margin: float = Field(
        default=0.02, gt=0, lt=1, description="maximum interval width (accuracy in [0, 1]) of a decided comparison"
    )
    level: float = Field(default=0.95, ge=0.5, lt=1, description="confidence level of the interval")

    @model_validator(mode="after")
    def _not_fewer_than_at_the_start(self) -> AdaptiveSeeds:
        if self.most < self.start:
            raise SpecError("to", f"must be at least from, {self.start} (got {self.most})")
        return self

    def numbers(self, count: int) -> list[int]:
        """Return the first ``count`` seeds."""
        return list(range(self.first, self.first + count))
