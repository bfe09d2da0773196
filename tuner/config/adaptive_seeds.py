"""How many seeds each point of a sweep gets: some to start with, more where they are needed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sparsweep.trainables.specs.base import FrozenModel, SpecError

MAX_SEEDS = 10_000


class AdaptiveSeeds(FrozenModel):
    """Every point starts with ``from`` seeds; one more at a time, up to ``to``, where its comparison is undecided.

    A comparison (the paired differences to dense in ``test_accuracy``) is undecided while its interval contains 0 and
    is wider than ``margin``.
    """

    first: int = Field(default=0, ge=0, description="the first seed; the others follow it")
    start: int = Field(alias="from", ge=2, le=MAX_SEEDS, description="seeds that every point starts with")
    most: int = Field(alias="to", le=MAX_SEEDS, description="seeds that a point has at the most")
    until: Literal["decided"] = Field(default="decided", description="when a point gets no further seed")
    margin: float = Field(default=0.02, gt=0, lt=1, description="width (of accuracies in [0, 1]) that is narrow enough")
    level: float = Field(default=0.95, ge=0.5, lt=1, description="confidence of the interval")

    @model_validator(mode="after")
    def _not_fewer_than_at_the_start(self) -> AdaptiveSeeds:
        if self.most < self.start:
            raise SpecError("to", f"{self.most} is less than from: {self.start}")
        return self

    def numbers(self, count: int) -> list[int]:
        """The first ``count`` seeds."""
        return list(range(self.first, self.first + count))
