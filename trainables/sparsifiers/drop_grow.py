"""Rewiring: what methods share that drop weights and grow as many elsewhere, again and again while training.

One update, :meth:`DropAndGrow.update`, in four steps that a method may replace one by one: which weights are removed
(:meth:`~DropAndGrow.drop_masks`, by :meth:`~DropAndGrow.drop_scores`, the smallest first), how many grow in each layer
(:meth:`~DropAndGrow.grow_counts`), and where (by :meth:`~DropAndGrow.grow_scores`, the largest first). Counts are
exact and by rank; they stay on the device, so that the host waits for it only where layers exchange weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, Sparsifier, UpdateContext
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.masks import Masks, largest, uniform_scores
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.timeline import DECAYS, Decay, TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec

DropGroup: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Some weights of a layer (boolean, its shape), and how many of them are to be removed (whole number, no shape)."""

Count: TypeAlias = "torch.Tensor | int"


class PeriodicUpdates(Sparsifier):
    """A method that acts on its masks at equal intervals."""

    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates")
    stop_fraction: float = Field(
        default=0.75, gt=0, le=1, description="no update after this share of training; 1: one may follow the last step"
    )

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        interval = timeline.epochs_to_steps(self.update_every)
        last = round(self.stop_fraction * timeline.steps)
        if self.stop_fraction < 1:  # a short training rounds up to its end: what grew there would be judged untrained
            last = min(last, timeline.steps - 1)
        return range(interval, last + 1, interval)


class DropAndGrow(PeriodicUpdates, RandomMask, MaskedSparsifier):
    """Drop and grow within layers of ERK density, from a random mask: SET, RigL and their kin.

    Where less is empty than should be dropped (low sparsity), only as many weights go as there are empty places, and
    all of those grow: the choice of places then has no say. With ``regrow_dropped`` it has.
    """

    prune_rate: float = Field(default=0.3, gt=0, lt=1, description="share of the weights replaced at first")
    final_prune_rate: float = Field(default=0.0, ge=0, lt=1, description="the same share at the end of its decay")
    decay: Decay = Field(default="cosine", description="how it gets there")
    decay_fraction: float = Field(default=1.0, gt=0, le=1, description="share of training at which the decay ends")
    regrow_dropped: bool = Field(
        default=False, description="what is dropped may grow back in the same update, with its old value (D8)"
    )

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.final_prune_rate > self.prune_rate:
            why = f"{self.final_prune_rate} is above prune_rate, {self.prune_rate}"
            raise SpecError("sparsifier.final_prune_rate", f"{why}")
        if self.decay == "exponential" and self.final_prune_rate == 0:
            raise SpecError("sparsifier.final_prune_rate", "exponential decay never reaches 0; give one above 0")

    def rate(self, moment: UpdateContext) -> float:
        """The share of the weights that is replaced now."""
        progress = moment.step / (self.decay_fraction * moment.timeline.steps)
        return DECAYS[self.decay](min(progress, 1.0), self.prune_rate, self.final_prune_rate)

    def update(self, masks: Masks, moment: UpdateContext) -> Masks:
        removed = self.drop_masks(masks, moment)
        kept = Masks({name: mask & ~removed[name] for name, mask in masks.items()})
        places = {name: ~(kept if self.regrow_dropped else masks)[name] for name in masks}
        counts = self.grow_counts(kept, removed, places, moment)
        preference = self.grow_scores(moment)
        return Masks({name: kept[name] | top_k_within(preference[name], places[name], counts[name]) for name in masks})

    def capacity(self, mask: torch.Tensor) -> torch.Tensor | int:
        """How many of a layer's weights can be removed and as many grown."""
        return mask.numel() if self.regrow_dropped else (~mask).sum()

    def drop_masks(self, masks: Masks, moment: UpdateContext) -> Tensors:
        """The weights to drop (boolean, by layer): of every layer as many as can grow in it again."""
        rate, importance = self.rate(moment), self.drop_scores(moment)
        removed = {}
        for name, mask in masks.items():
            sides = self.drop_groups(moment.weights[name], mask, rate)
            removed[name] = bottom_k_within(importance[name], sides, self.capacity(mask))
        return removed

    def drop_groups(self, weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
        """The groups of a layer's weights that are ranked apart: all in one, unless a method splits them."""
        return [(mask, num_to_drop(mask, rate))]

    def drop_scores(self, moment: UpdateContext) -> Tensors:
        """What keeps a weight: the smallest go."""
        return {name: weight.abs() for name, weight in moment.weights.items()}

    def grow_counts(self, kept: Masks, removed: Tensors, places: Tensors, moment: UpdateContext) -> Mapping[str, Count]:
        """How many weights grow in each layer: as many as were dropped there."""
        return {name: lost.sum() for name, lost in removed.items()}

    def grow_scores(self, moment: UpdateContext) -> Tensors:
        """What speaks for a place: the largest grow."""
        return random_scores(moment)


# Where weights grow ---------------------------------------------------------------------------------------------------


def random_scores(moment: UpdateContext) -> Tensors:
    """Every place alike."""
    return uniform_scores(moment.weights, moment.generator)


def gradient_scores(moment: UpdateContext) -> Tensors:
    """|dL/dw| of the coming batch, of weights that are not there too."""
    return {name: gradient.abs() for name, gradient in moment.dense_gradients().items()}


# Selection ------------------------------------------------------------------------------------------------------------


def num_to_drop(side: torch.Tensor, rate: float) -> torch.Tensor:
    """The share ``rate`` of the weights in ``side``: the nearest whole number, on the device."""
    return (rate * side.sum()).round().long()


def scale_to_capacity(counts: Sequence[torch.Tensor], room: Count) -> list[torch.Tensor]:
    """``counts`` if all of them together find ``room``, else each shrunk alike."""
    total = torch.stack(list(counts)).sum().clamp(min=1)
    return [torch.minimum(count, count * room // total) for count in counts]


def top_k_within(scores: torch.Tensor, places: torch.Tensor, count: Count) -> torch.Tensor:
    """The ``count`` highest of the scores in ``places``, ties to the earlier; boolean, of the shape of ``scores``."""
    return places & largest(torch.where(places, scores, -torch.inf), count)


def bottom_k_within(importance: torch.Tensor, sides: Sequence[DropGroup], room: Count) -> torch.Tensor:
    """The least important weights of each side, as many as it asks for, but together no more than ``room``."""
    counts = scale_to_capacity([count for _, count in sides], room)
    found = [top_k_within(-importance, side, count) for (side, _), count in zip(sides, counts, strict=True)]
    return torch.stack(found).any(0)


def allocate_proportionally(total: int, shares: Sequence[float], room: Sequence[int]) -> list[int]:
    """``total`` in whole numbers in proportion to ``shares``, none above its ``room``; exact.

    What does not fit into a layer goes to the others in proportion to their shares again, and where none of them has
    a share, in proportion to their room. Largest remainders; ValueError if all rooms together are less than ``total``.
    """
    if not 0 <= total <= sum(room):
        raise ValueError(f"{total} weights do not fit into {sum(room)} places")
    counts = [0] * len(room)
    layers, missing = [layer for layer, places in enumerate(room) if places], total
    while layers and missing:
        weights = [shares[layer] for layer in layers]
        if not any(weights):
            weights = [float(room[layer]) for layer in layers]
        parts = {layer: missing * weight / sum(weights) for layer, weight in zip(layers, weights, strict=True)}
        full = [layer for layer in layers if parts[layer] >= room[layer]]
        if not full:
            return [
                count + extra for count, extra in zip(counts, round_to_total(parts, missing, len(room)), strict=True)
            ]
        for layer in full:
            counts[layer] = room[layer]
            missing -= room[layer]
        layers = [layer for layer in layers if layer not in full]
    return counts


def round_to_total(parts: Mapping[int, float], total: int, length: int) -> list[int]:
    """``parts``, by place, as whole numbers that add up to ``total``: the largest remainders are rounded up."""
    counts = [int(parts.get(place, 0)) for place in range(length)]
    for place in sorted(parts, key=lambda place: counts[place] - parts[place])[: total - sum(counts)]:
        counts[place] += 1
    return counts
