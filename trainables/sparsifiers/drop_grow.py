"""Rewiring: what methods share that drop weights and grow as many elsewhere, again and again while training.

One update, :meth:`Rewiring.update`, in four steps that a method may replace one by one: which weights are removed
(:meth:`~Rewiring.removal`, by :meth:`~Rewiring.importance`, the smallest first), how many grow in each layer
(:meth:`~Rewiring.allotment`), and where (by :meth:`~Rewiring.preference`, the largest first). Counts are exact and by
rank; they stay on the device, so that the host waits for it only where layers exchange weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import Moment, Sparse, Sparsifier
from sparsweep.trainables.sparsifiers.layer_budget import Drawn
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.masks import Masks, largest, uniform_scores
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.timeline import DECAYS, Decay, Timeline
from sparsweep.trainables.specs.trial import TrialSpec

Side: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""Some weights of a layer (boolean, its shape), and how many of them are to be removed (whole number, no shape)."""

Count: TypeAlias = "torch.Tensor | int"


class Periodic(Sparsifier):
    """A method that acts on its masks at equal intervals."""

    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates")
    stop_fraction: float = Field(
        default=0.75, gt=0, le=1, description="no update after this share of training; 1: one may follow the last step"
    )

    def update_steps(self, timeline: Timeline) -> Collection[int]:
        interval = timeline.interval(self.update_every)
        last = round(self.stop_fraction * timeline.steps)
        if self.stop_fraction < 1:  # a short training rounds up to its end: what grew there would be judged untrained
            last = min(last, timeline.steps - 1)
        return range(interval, last + 1, interval)


class Rewiring(Periodic, Drawn, Sparse):
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

    def rate(self, moment: Moment) -> float:
        """The share of the weights that is replaced now."""
        progress = moment.step / (self.decay_fraction * moment.timeline.steps)
        return DECAYS[self.decay](min(progress, 1.0), self.prune_rate, self.final_prune_rate)

    def update(self, masks: Masks, moment: Moment) -> Masks:
        removed = self.removal(masks, moment)
        kept = Masks({name: mask & ~removed[name] for name, mask in masks.items()})
        places = {name: ~(kept if self.regrow_dropped else masks)[name] for name in masks}
        counts = self.allotment(kept, removed, places, moment)
        preference = self.preference(moment)
        return Masks({name: kept[name] | highest(preference[name], places[name], counts[name]) for name in masks})

    def room(self, mask: torch.Tensor) -> torch.Tensor | int:
        """How many of a layer's weights can be removed and as many grown."""
        return mask.numel() if self.regrow_dropped else (~mask).sum()

    def removal(self, masks: Masks, moment: Moment) -> Tensors:
        """The weights to drop (boolean, by layer): of every layer as many as can grow in it again."""
        rate, importance = self.rate(moment), self.importance(moment)
        removed = {}
        for name, mask in masks.items():
            sides = self.sides(moment.weights[name], mask, rate)
            removed[name] = lowest(importance[name], sides, self.room(mask))
        return removed

    def sides(self, weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[Side]:
        """The groups of a layer's weights that are ranked apart: all in one, unless a method splits them."""
        return [(mask, share(mask, rate))]

    def importance(self, moment: Moment) -> Tensors:
        """What keeps a weight: the smallest go."""
        return {name: weight.abs() for name, weight in moment.weights.items()}

    def allotment(self, kept: Masks, removed: Tensors, places: Tensors, moment: Moment) -> Mapping[str, Count]:
        """How many weights grow in each layer: as many as were dropped there."""
        return {name: lost.sum() for name, lost in removed.items()}

    def preference(self, moment: Moment) -> Tensors:
        """What speaks for a place: the largest grow."""
        return by_chance(moment)


# Where weights grow ---------------------------------------------------------------------------------------------------


def by_chance(moment: Moment) -> Tensors:
    """Every place alike."""
    return uniform_scores(moment.weights, moment.generator)


def by_gradient(moment: Moment) -> Tensors:
    """|dL/dw| of the coming batch, of weights that are not there too."""
    return {name: gradient.abs() for name, gradient in moment.gradients().items()}


# Selection ------------------------------------------------------------------------------------------------------------


def share(side: torch.Tensor, rate: float) -> torch.Tensor:
    """The share ``rate`` of the weights in ``side``: the nearest whole number, on the device."""
    return (rate * side.sum()).round().long()


def limited(counts: Sequence[torch.Tensor], room: Count) -> list[torch.Tensor]:
    """``counts`` if all of them together find ``room``, else each shrunk alike."""
    total = torch.stack(list(counts)).sum().clamp(min=1)
    return [torch.minimum(count, count * room // total) for count in counts]


def highest(scores: torch.Tensor, places: torch.Tensor, count: Count) -> torch.Tensor:
    """The ``count`` highest of the scores in ``places``, ties to the earlier; boolean, of the shape of ``scores``."""
    return places & largest(torch.where(places, scores, -torch.inf), count)


def lowest(importance: torch.Tensor, sides: Sequence[Side], room: Count) -> torch.Tensor:
    """The least important weights of each side, as many as it asks for, but together no more than ``room``."""
    counts = limited([count for _, count in sides], room)
    found = [highest(-importance, side, count) for (side, _), count in zip(sides, counts, strict=True)]
    return torch.stack(found).any(0)


def share_out(total: int, shares: Sequence[float], room: Sequence[int]) -> list[int]:
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
            return [count + extra for count, extra in zip(counts, _whole(parts, missing, len(room)), strict=True)]
        for layer in full:
            counts[layer] = room[layer]
            missing -= room[layer]
        layers = [layer for layer in layers if layer not in full]
    return counts


def _whole(parts: Mapping[int, float], total: int, length: int) -> list[int]:
    """``parts``, by place, as whole numbers that add up to ``total``: the largest remainders are rounded up."""
    counts = [int(parts.get(place, 0)) for place in range(length)]
    for place in sorted(parts, key=lambda place: counts[place] - parts[place])[: total - sum(counts)]:
        counts[place] += 1
    return counts
