"""Sparse Evolutionary Training: prune the smallest weights, regrow as many at random.

Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by network
science", Nature Communications 2018. As the paper uses it (appendix A.1): an ERK mask at the start, an update every
four epochs, the smallest positive and the smallest negative weights of a layer removed separately, so that layer
densities stay as they are. The share removed falls along a half cosine from ``prune_rate`` (the authors' code: .2).

Departures from the authors' code, all towards the text: counts by rank instead of by threshold; what was just
dropped cannot grow back in the same update (there it could, with its old value); grown weights start at zero with zero
momentum; updates stop at ``stop_fraction`` of training, so that the last network is trained before it is judged.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from pydantic import Field

from trainables.sparsifiers.base import Moment, sparsifiers
from trainables.sparsifiers.layerwise import Drawn
from trainables.sparsifiers.masks import Masks, ranks, uniform_scores
from trainables.sparsifiers.schedules import Timeline, cosine


@sparsifiers.register
class SET(Drawn):
    """Sparse evolutionary training: drop the smallest weights, grow random ones, again and again."""

    name: Literal["set"] = "set"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates (paper: 4)")
    prune_rate: float = Field(default=0.2, gt=0, lt=1, description="share of a layer's weights replaced at first")
    final_prune_rate: float = Field(default=0.001, ge=0, lt=1, description="the same share at the end of training")
    stop_fraction: float = Field(default=0.75, gt=0, le=1, description="no update after this share of training")

    def update_steps(self, timeline: Timeline) -> Collection[int]:
        interval = timeline.interval(self.update_every)
        return range(interval, timeline.at(self.stop_fraction), interval)

    def update(self, masks: Masks, moment: Moment) -> Masks:
        rate = cosine(moment.step / moment.timeline.steps, self.prune_rate, self.final_prune_rate)
        chance = uniform_scores(moment.weights, moment.generator)
        return Masks({name: rewire(moment.weights[name], masks[name], rate, chance[name]) for name in masks})


def rewire(weights: torch.Tensor, mask: torch.Tensor, rate: float, chance: torch.Tensor) -> torch.Tensor:
    """One layer's new mask: drop the share ``rate`` of each sign, smallest magnitudes first, and grow as many.

    ``chance`` in (0, 1) orders the empty places, largest first. Only places that were empty before can grow, so no
    more is dropped than they can take; then the share of each sign shrinks alike. Everything stays on the device.
    """
    empty = ~mask
    magnitude = weights.abs()
    dropped = torch.zeros_like(mask)
    signs = [mask & (weights > 0), mask & (weights <= 0)]
    wanted = [(rate * side.sum()).round() for side in signs]
    room = empty.sum() / (wanted[0] + wanted[1]).clamp(min=1)
    for side, count in zip(signs, wanted, strict=True):
        ascending = ranks(torch.where(side, -magnitude, -torch.inf))
        dropped |= side & (ascending < (count * room.clamp(max=1)).floor())
    grown = empty & (ranks(torch.where(empty, chance, -1.0)) < dropped.sum())
    return (mask & ~dropped) | grown
