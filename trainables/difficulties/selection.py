"""Selection by a score: what difficulties share that rank training samples, and that train networks to do so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, random_subset
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec, subset_size

MAX_SEED = 2**31
MAX_RUNS = 1000
"""Networks that rank samples: ten are usual, and Baldock et al. train 250."""


class Selection(Difficulty):
    """The samples at one end of a ranking (or a window of it, or as many by chance). Larger scores are harder."""

    keep: Literal["hardest", "easiest", "random", "window"] = Field(
        default="hardest", description="which samples are trained on: data_ratio says how many"
    )
    window_start: float = Field(default=0.0, ge=0, lt=1, description="share of hardest samples above the window")
    balanced: bool = Field(default=False, description="the same ratio of every class")

    def check(self, spec: TrialSpec) -> None:
        if self.window_start and self.keep != "window":
            raise SpecError("difficulty.window_start", f"{self.window_start} needs keep: window, got {self.keep}")
        if self.keep == "window" and self.window_start + spec.data_ratio > 1 + 1e-9:
            raise SpecError(
                "difficulty.window_start", f"{self.window_start} leaves less than data_ratio, {spec.data_ratio}"
            )

    def needs_scores(self, spec: TrialSpec) -> bool:
        """Whether scores decide anything: not if all samples are kept, nor if chance chooses."""
        return spec.data_ratio < 1 and self.keep != "random"

    def scores(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        """float64 [N]: how hard each training sample is; asked for only where it :meth:`needs_scores`."""
        raise NotImplementedError

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        if not self.needs_scores(spec):
            return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)
        scores = self.scores(spec, labels, sources)
        return select_by_score(scores, spec.data_ratio, self.keep, self.window_start, labels if self.balanced else None)


class ScoreSelection(Selection):
    """The samples that dense networks, trained on the whole training set, find hardest (or easiest).

    ``runs`` networks are trained for the first ``epoch`` epochs of the trial's own schedule; a sample's score is its
    mean over them.
    """

    min_epochs: ClassVar[int] = 1
    """Epochs without which the score says nothing."""

    runs: int = Field(default=10, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(default=20, ge=1, description="epochs that each of them is trained; null: all")
    first_seed: int = Field(default=1000, ge=0, description="seed of the first of them, apart from the trials' seeds")

    @property
    def score(self) -> str:
        """The name of the score (see ``trainables.difficulties.scores.base``)."""
        return self.name

    def epochs(self, spec: TrialSpec) -> int:
        """How many epochs each network is trained."""
        return self.epoch or spec.recipe.epochs

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.first_seed + self.runs > MAX_SEED:
            raise SpecError(
                "difficulty.first_seed", f"{self.first_seed} leaves no room for {self.runs} seeds below 2^31"
            )
        if not self.needs_scores(spec):
            return
        if self.epochs(spec) > spec.recipe.epochs:
            raise SpecError("difficulty.epoch", f"{self.epoch} is beyond recipe.epochs, {spec.recipe.epochs}")
        if self.epochs(spec) < self.min_epochs:
            raise SpecError(
                "difficulty.epoch", f"{self.name} needs {self.min_epochs} epochs or more, got {self.epochs(spec)}"
            )

    def num_scoring_runs(self, spec: TrialSpec) -> int:
        return self.runs if self.needs_scores(spec) else 0

    def prerequisites(self, spec: TrialSpec) -> tuple[ScoringSpec, ...]:
        if not self.needs_scores(spec):
            return ()
        epochs = self.epochs(spec)
        return tuple(ScoringSpec.of(spec, self.first_seed + run, epochs, self.score) for run in range(self.runs))

    def scores(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        return torch.stack([sources.scores(run, self.score) for run in self.prerequisites(spec)]).mean(0)


def select_by_score(
    scores: torch.Tensor,
    data_ratio: float,
    keep: str,
    window_start: float = 0.0,
    classes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Indices, ascending, of the share ``data_ratio`` of samples that ``keep`` wants; of equal scores, earlier first.

    ``scores``: [N], larger is harder; ``classes``: [N] labels if every class is to keep that share (see
    :func:`largest_remainder`: the total is exact), else None.
    """
    size = subset_size(len(scores), data_ratio)
    order = scores.argsort(descending=keep != "easiest", stable=True)
    groups = [order] if classes is None else [order[classes[order] == label] for label in classes.unique()]
    counts = largest_remainder([len(group) for group in groups], size)
    above = window_start if keep == "window" else 0.0
    parts = []
    for group, count in zip(groups, counts, strict=True):
        start = min(round(above * len(group)), len(group) - count)
        parts.append(group[start : start + count])
    return torch.cat(parts).sort().values


def largest_remainder(sizes: Sequence[int], total: int) -> list[int]:
    """``total`` shared out in proportion to ``sizes``, by largest remainders; of equal ones, earlier first."""
    exact = torch.tensor([size * total / sum(sizes) for size in sizes], dtype=torch.float64)
    counts = exact.floor().long()
    remainders = (exact - counts).argsort(descending=True, stable=True)
    counts[remainders[: total - int(counts.sum())]] += 1
    return counts.tolist()
