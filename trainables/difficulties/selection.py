"""Base classes of difficulties that rank training samples by a score, with or without networks of their own."""

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
"""Maximum number of networks that rank samples: ten are usual, and Baldock et al. train 250."""


class Selection(Difficulty):
    """Samples from one end of a ranking, from a window of it, or at random. Larger scores are harder."""

    keep: Literal["hardest", "easiest", "random", "window"] = Field(
        default="hardest", description="samples to train on; data_ratio sets their number"
    )
    window_start: float = Field(default=0.0, ge=0, lt=1, description="share of hardest samples above the window")
    balanced: bool = Field(default=False, description="select the same share of every class")

    def check(self, spec: TrialSpec) -> None:
        if self.window_start and self.keep != "window":
            raise SpecError("difficulty.window_start", f"{self.window_start} needs keep: window (got {self.keep}).")
        if self.keep == "window" and self.window_start + spec.data_ratio > 1 + 1e-9:
            raise SpecError(
                "difficulty.window_start",
                f"must be at most 1 - data_ratio {spec.data_ratio} (got {self.window_start}).",
            )

    def needs_scores(self, spec: TrialSpec) -> bool:
        """Return whether scores affect the selection: not if all samples are kept or the selection is random."""
        return spec.data_ratio < 1 and self.keep != "random"

    def scores(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        """Return the score of each training sample. Called only if :meth:`needs_scores` is true.

        Args:
            spec: Trial to train.
            labels: int64 ``(N,)`` on the CPU, labels of the training set.
            sources: Outputs of the prerequisites.

        Returns:
            float64 ``(N,)``. Larger is harder.
        """
        raise NotImplementedError

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        if not self.needs_scores(spec):
            return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)
        scores = self.scores(spec, labels, sources)
        return select_by_score(scores, spec.data_ratio, self.keep, self.window_start, labels if self.balanced else None)


class ScoreSelection(Selection):
    """Samples that are hardest (or easiest) for dense networks trained on the full training set.

    ``runs`` networks are trained for the first ``epoch`` epochs of the trial's own schedule. The score of a sample is
    its mean over these networks.
    """

    min_epochs: ClassVar[int] = 1
    """Minimum number of epochs of a meaningful score."""

    runs: int = Field(default=10, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(default=20, ge=1, description="epochs of each network; null: all")
    first_seed: int = Field(
        default=1000, ge=0, description="seed of the first network; separate from the seeds of trials"
    )

    @property
    def score(self) -> str:
        """Name of the score (see ``trainables.difficulties.scores.base``)."""
        return self.name

    def epochs(self, spec: TrialSpec) -> int:
        """Return the number of epochs of each network."""
        return self.epoch or spec.recipe.epochs

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.first_seed + self.runs > MAX_SEED:
            raise SpecError(
                "difficulty.first_seed", f"all {self.runs} seeds must be below 2^31 (got {self.first_seed})."
            )
        if not self.needs_scores(spec):
            return
        if self.epochs(spec) > spec.recipe.epochs:
            raise SpecError(
                "difficulty.epoch", f"must not exceed recipe.epochs {spec.recipe.epochs} (got {self.epoch})."
            )
        if self.epochs(spec) < self.min_epochs:
            raise SpecError(
                "difficulty.epoch", f"{self.name} needs at least {self.min_epochs} epochs (got {self.epochs(spec)})."
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
    """Select the share ``data_ratio`` of the samples by their scores. Of equal scores the earlier sample is selected.

    Args:
        scores: ``(N,)``. Larger is harder.
        data_ratio: Share of the samples to select.
        keep: ``hardest``, ``easiest`` or ``window``.
        window_start: Share of hardest samples above the window.
        classes: Labels ``(N,)`` if every class keeps the same share (see :func:`largest_remainder`: the total is
            exact), else None.

    Returns:
        Ascending indices, int64.
    """
    size = subset_size(len(scores), data_ratio)
    order = scores.argsort(descending=keep != "easiest", stable=True)
    groups = [order] if classes is None else [order[classes[order] == label] for label in classes.unique()]
    counts = largest_remainder([len(group) for group in groups], size)
    skipped = window_start if keep == "window" else 0.0
    parts = []
    for group, count in zip(groups, counts, strict=True):
        start = min(round(skipped * len(group)), len(group) - count)
        parts.append(group[start : start + count])
    return torch.cat(parts).sort().values


def largest_remainder(sizes: Sequence[int], total: int) -> list[int]:
    """Divide ``total`` in proportion to ``sizes``, by largest remainders.

    Of equal remainders the earlier one is rounded up.

    Args:
        sizes: Sizes of the groups.
        total: Integer to divide.

    Returns:
        One integer per group, with the sum ``total``.
    """
    exact = torch.tensor([size * total / sum(sizes) for size in sizes], dtype=torch.float64)
    counts = exact.floor().long()
    remainders = (exact - counts).argsort(descending=True, stable=True)
    counts[remainders[: total - int(counts.sum())]] += 1
    return counts.tolist()
