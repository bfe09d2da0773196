"""Selection by a score: what all difficulties share that rank training samples by scores of dense networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from trainables.difficulty.base import Difficulty, Sources, random_subset, subset_size

if TYPE_CHECKING:
    from trainables.spec import ScoringSpec, TrialSpec

MAX_SEED = 2**31


class Ranked(Difficulty):
    """The samples that dense networks, trained on the whole training set, find hardest (or easiest).

    ``runs`` networks are trained for the first ``epoch`` epochs of the trial's own schedule; a sample's score is its
    mean over them. Larger is harder.
    """

    keep: Literal["hardest", "easiest", "random", "window"] = "hardest"
    window_start: float = Field(default=0.0, ge=0, lt=1, description="share of hardest samples above the window")
    balanced: bool = Field(default=False, description="the same ratio of every class")
    runs: int = Field(default=10, ge=1, description="networks whose scores are averaged")
    epoch: int = Field(default=20, ge=1, description="epochs that each of them is trained")
    first_seed: int = Field(default=1000, ge=0, description="seed of the first of them, apart from the trials' seeds")

    @property
    def score(self) -> str:
        """The name of the score (see ``trainables.scoring``)."""
        return self.name

    def check(self, spec: TrialSpec) -> None:
        if self._ranks(spec) and self.epoch > spec.recipe.epochs:
            raise ValueError(f"difficulty.epoch: {self.epoch} is beyond recipe.epochs, {spec.recipe.epochs}")
        if self.first_seed + self.runs > MAX_SEED:
            raise ValueError(
                f"difficulty.first_seed: {self.first_seed} leaves no room for {self.runs} seeds below 2^31"
            )
        if self.window_start and self.keep != "window":
            raise ValueError(f"difficulty.window_start: {self.window_start} needs keep: window, got {self.keep}")
        if self.keep == "window" and self.window_start + spec.data_ratio > 1 + 1e-9:
            raise ValueError(
                f"difficulty.window_start: {self.window_start} leaves less than data_ratio, {spec.data_ratio}"
            )

    def _ranks(self, spec: TrialSpec) -> bool:
        """Whether scores decide anything: not if all samples are kept, nor if chance chooses."""
        return spec.data_ratio < 1 and self.keep != "random"

    def requirements(self, spec: TrialSpec) -> tuple[ScoringSpec, ...]:
        if not self._ranks(spec):
            return ()
        return tuple(spec.scoring(self.first_seed + run, self.epoch, self.score) for run in range(self.runs))

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: Sources) -> torch.Tensor:
        if not self._ranks(spec):
            return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)
        mean = torch.stack([sources.scores(run, self.score) for run in self.requirements(spec)]).mean(0)
        return choose(mean, spec.data_ratio, self.keep, self.window_start, labels if self.balanced else None)


def choose(
    scores: torch.Tensor,
    data_ratio: float,
    keep: str,
    window_start: float = 0.0,
    classes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Indices, ascending, of the share ``data_ratio`` of samples that ``keep`` wants; of equal scores, earlier first.

    ``scores``: [N], larger is harder; ``classes``: [N] labels if every class is to keep that share (counts by largest
    remainders, so that the total is exact), else None.
    """
    size = subset_size(len(scores), data_ratio)
    order = scores.argsort(descending=keep != "easiest", stable=True)
    if classes is None:
        start = round(window_start * len(scores)) if keep == "window" else 0
        start = min(start, len(scores) - size)
        return order[start : start + size].sort().values
    groups = [order[classes[order] == label] for label in classes.unique()]
    exact = torch.tensor([len(group) * size / len(scores) for group in groups], dtype=torch.float64)
    counts = exact.floor().long()
    remainders = (exact - counts).argsort(descending=True, stable=True)
    counts[remainders[: size - int(counts.sum())]] += 1
    parts = []
    for group, count in zip(groups, counts.tolist(), strict=True):
        start = min(round(window_start * len(group)), len(group) - count) if keep == "window" else 0
        parts.append(group[start : start + count])
    return torch.cat(parts).sort().values
