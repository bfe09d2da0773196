"""What a difficulty is: a frozen value that selects the training samples, once, before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from trainables.seeds import derive
from trainables.values import Named, Registry

if TYPE_CHECKING:
    from trainables.spec import ScoringSpec, TrialSpec

Scores = Callable[["ScoringSpec"], torch.Tensor]
"""Looks up the scores that a scoring run left: float64 [N], one for each training sample."""


class Difficulty(Named):
    """A way to choose training data by how hard it is."""

    def check(self, spec: TrialSpec) -> None:
        """ValueError if ``spec`` cannot be made this hard."""

    def requirements(self, spec: TrialSpec) -> tuple[ScoringSpec, ...]:
        """The scoring runs whose scores :meth:`select` needs."""
        return ()

    def select(self, spec: TrialSpec, labels: torch.Tensor, scores: Scores) -> torch.Tensor:
        """Indices of the training samples that ``spec`` uses, ascending, exactly ``subset_size`` of them.

        ``labels``: int64 [N] on the CPU. Depends on the seed and the data, never on the sparsifier, so that the arms
        of a comparison train on the same samples.
        """
        raise NotImplementedError


difficulties: Registry[Difficulty] = Registry("difficulty")


def subset_size(total: int, data_ratio: float) -> int:
    """How many of ``total`` samples a ratio in (0, 1] keeps: the nearest whole number, at least 1."""
    return max(1, round(total * data_ratio))


def random_subset(total: int, size: int, seed: int) -> torch.Tensor:
    """``size`` of ``total`` indices, uniformly, ascending; the same for every trial of one seed."""
    return torch.randperm(total, generator=derive(seed, "subset"))[:size].sort().values
