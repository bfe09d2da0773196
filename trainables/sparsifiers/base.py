"""What a sparsifier is: a frozen value that returns masks. It owns neither the optimiser nor the loop.

Most are *scores x distribution x schedule*: see ``masks``, ``distributions`` and ``schedules`` beside this file. A new
method is one file here with one registered class; sweeps, figures and contract tests find it by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainables.models import maskable
from trainables.sparsifiers import distributions
from trainables.sparsifiers.masks import Masks, kept_weights
from trainables.sparsifiers.schedules import Timeline
from trainables.values import Named, Registry

if TYPE_CHECKING:
    from trainables.spec import TrialSpec

State = Mapping[str, torch.Tensor]
"""A network's ``state_dict``."""


@dataclass(frozen=True)
class Start:
    """What a sparsifier may look at before training.

    ``model``: the network on its device, at its initial weights (or at ``starting_state`` where that is given);
    ``batch()``: one augmented training batch, (float32 [B, C, H, W], int64 [B]), the same at every call;
    ``trained(spec)``: the final state of a prerequisite; ``generator``: for masks alone.
    """

    spec: TrialSpec
    model: nn.Module
    generator: torch.Generator
    batch: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    trained: Callable[[TrialSpec], State]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The maskable weights, by name, detached."""
        return {name: weight.detach() for name, weight in maskable(self.model).items()}

    @property
    def kept(self) -> int:
        """How many weights the asked sparsity leaves."""
        return kept_weights(sum(weight.numel() for weight in self.weights.values()), self.spec.sparsity)

    def layer_counts(self, distribution: Callable[[distributions.Shapes, float], dict[str, float]]) -> dict[str, int]:
        """How many weights each layer keeps under ``distribution``; together exactly ``kept``."""
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        size = sum(weight.numel() for weight in self.weights.values())
        return distributions.allocate(shapes, distribution(shapes, self.kept / size), self.kept)


@dataclass(frozen=True)
class Moment:
    """What a sparsifier may look at just before training step ``step``: the weights as trained so far."""

    spec: TrialSpec
    step: int
    timeline: Timeline
    weights: Mapping[str, torch.Tensor]
    generator: torch.Generator


class Sparsifier(Named):
    """A method that decides which weights are there."""

    def check(self, spec: TrialSpec) -> None:
        """ValueError if the method cannot train ``spec``."""
        if spec.sparsity == 0:
            raise ValueError(f"sparsity: {self.name} needs one in (0, 1), got 0; dense is the method without")

    def requirements(self, spec: TrialSpec) -> tuple[TrialSpec, ...]:
        """The trials whose final weights ``spec`` needs before it can start."""
        return ()

    def starting_state(self, start: Start) -> State | None:
        """Weights and buffers to start from; None for the trial's own initial ones."""
        return None

    def initialize(self, start: Start) -> Masks:
        """The masks before the first step."""
        raise NotImplementedError

    def update_steps(self, timeline: Timeline) -> Collection[int]:
        """The steps in [0, timeline.steps) just before which :meth:`update` is due; none for a static mask."""
        return ()

    def update(self, masks: Masks, moment: Moment) -> Masks:
        """New masks. The loop zeroes the weights and momenta that they remove; weights that they add start at zero."""
        raise NotImplementedError

    def sparsity_at(self, step: int, spec: TrialSpec, timeline: Timeline) -> float:
        """The sparsity that the masks must show from just before ``step`` until the next update."""
        return spec.sparsity


sparsifiers: Registry[Sparsifier] = Registry("sparsifier")


def dense_parent(spec: TrialSpec) -> TrialSpec:
    """The same trial without sparsity: the dense network that LTH and OMP prune, and the dense point of a figure."""
    return spec.replace(sparsifier="dense", sparsity=0.0)
