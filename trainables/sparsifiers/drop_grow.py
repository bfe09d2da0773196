"""Base classes of dynamic sparse training: drop weights and grow as many elsewhere at regular intervals.

One update, :meth:`DropAndGrow.update`, has four steps. A method may override each of them:

- :meth:`~DropAndGrow.drop_masks` selects the weights to drop, those with the smallest :meth:`~DropAndGrow.drop_scores`;
- :meth:`~DropAndGrow.grow_counts` returns the number of weights that grow in each layer;
- :meth:`~DropAndGrow.grow_scores` ranks the positions; the largest grow.

Counts are exact and by rank. They stay on the device. The host synchronizes only where layers exchange weights.
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
"""Boolean mask of some weights of a layer, and the number of them to drop (integer tensor without dimensions)."""

Count: TypeAlias = "torch.Tensor | int"


class PeriodicUpdates(Sparsifier):
    """Method that updates its masks at equal intervals."""

    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates")
    stop_fraction: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="no update after this share of training; 1: one may follow the last step",
    )

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        interval = timeline.epochs_to_steps(self.update_every)
        last = round(self.stop_fraction * timeline.steps)
        if self.stop_fraction < 1:  # rounding may give the end of a short training, where grown weights stay untrained
            last = min(last, timeline.steps - 1)
        return range(interval, last + 1, interval)


class DropAndGrow(PeriodicUpdates, RandomMask, MaskedSparsifier):
    """Drop and grow within layers of ERK density, from a random mask: SET, RigL and related methods.

    At low sparsity a layer may have fewer masked positions than weights to drop. Only as many weights are dropped as
    the layer has masked positions, and all of these positions grow. Growth scores then have no effect, except with
    ``regrow_dropped``.
    """

    prune_rate: float = Field(default=0.3, gt=0, lt=1, description="initial share of the weights replaced per update")
    final_prune_rate: float = Field(default=0.0, ge=0, lt=1, description="share at the end of the decay")
    decay: Decay = Field(default="cosine", description="decay from prune_rate to final_prune_rate")
    decay_fraction: float = Field(default=1.0, gt=0, le=1, description="share of training at which the decay ends")
    regrow_dropped: bool = Field(
        default=False, description="a dropped weight may grow back in the same update, with its old value (D8)"
    )

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.final_prune_rate > self.prune_rate:
            problem = f"must not exceed prune_rate {self.prune_rate} (got {self.final_prune_rate})."
            raise SpecError("sparsifier.final_prune_rate", problem)
        if self.decay == "exponential" and self.final_prune_rate == 0:
            raise SpecError("sparsifier.final_prune_rate", "must be above 0 for exponential decay (got 0).")

    def rate(self, context: UpdateContext) -> float:
        """Return the share of the weights that this update replaces."""
        progress = context.step / (self.decay_fraction * context.timeline.steps)
        return DECAYS[self.decay](min(progress, 1.0), self.prune_rate, self.final_prune_rate)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        removed = self.drop_masks(masks, context)
        kept = Masks({name: mask & ~removed[name] for name, mask in masks.items()})
        candidates = {name: ~(kept if self.regrow_dropped else masks)[name] for name in masks}
        counts = self.grow_counts(kept, removed, candidates, context)
        scores = self.grow_scores(context)
        return Masks({name: kept[name] | top_k_within(scores[name], candidates[name], counts[name]) for name in masks})

    def capacity(self, mask: torch.Tensor) -> torch.Tensor | int:
        """Return the maximum number of weights that can be dropped and regrown in a layer."""
        return mask.numel() if self.regrow_dropped else (~mask).sum()

    def drop_masks(self, masks: Masks, context: UpdateContext) -> Tensors:
        """Return the weights to drop, as boolean tensors by layer.

        No layer drops more weights than can grow in it again.

        Args:
            masks: Current masks.
            context: Inputs of this update.
        """
        rate, importance = self.rate(context), self.drop_scores(context)
        removed = {}
        for name, mask in masks.items():
            groups = self.drop_groups(context.weights[name], mask, rate)
            removed[name] = bottom_k_within(importance[name], groups, self.capacity(mask))
        return removed

    def drop_groups(self, weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
        """Return the groups of a layer's weights that are ranked separately. The default is one group.

        Args:
            weights: Weights of the layer.
            mask: Current mask of the layer.
            rate: Share of the weights to drop.
        """
        return [(mask, num_to_drop(mask, rate))]

    def drop_scores(self, context: UpdateContext) -> Tensors:
        """Return the importance of each weight. The smallest are dropped."""
        return {name: weight.abs() for name, weight in context.weights.items()}

    def grow_counts(
        self, kept: Masks, removed: Tensors, candidates: Tensors, context: UpdateContext
    ) -> Mapping[str, Count]:
        """Return the number of weights that grow in each layer: as many as the layer drops.

        Args:
            kept: Masks after the drop.
            removed: Dropped weights, as boolean tensors by layer.
            candidates: Positions where weights may grow, as boolean tensors by layer.
            context: Inputs of this update.
        """
        return {name: dropped.sum() for name, dropped in removed.items()}

    def grow_scores(self, context: UpdateContext) -> Tensors:
        """Return the score of each position. The largest grow."""
        return random_scores(context)


# Growth scores -------------------------------------------------------------------------------------------------------


def random_scores(context: UpdateContext) -> Tensors:
    """Return independent uniform scores."""
    return uniform_scores(context.weights, context.generator)


def gradient_scores(context: UpdateContext) -> Tensors:
    """Return |dL/dw| of the next batch for all weights, masked ones included."""
    return {name: gradient.abs() for name, gradient in context.dense_gradients().items()}


# Selection ------------------------------------------------------------------------------------------------------------


def num_to_drop(mask: torch.Tensor, rate: float) -> torch.Tensor:
    """Return the share ``rate`` of the weights in ``mask``, rounded to the nearest integer, on the device.

    Args:
        mask: Boolean mask of the weights.
        rate: Share in [0, 1].
    """
    return (rate * mask.sum()).round().long()


def scale_to_capacity(counts: Sequence[torch.Tensor], capacity: Count) -> list[torch.Tensor]:
    """Scale ``counts`` down by one common factor if their sum exceeds ``capacity``.

    Args:
        counts: Desired numbers of weights.
        capacity: Total capacity.
    """
    total = torch.stack(list(counts)).sum().clamp(min=1)
    return [torch.minimum(count, count * capacity // total) for count in counts]


def top_k_within(scores: torch.Tensor, candidates: torch.Tensor, count: Count) -> torch.Tensor:
    """Select the ``count`` largest scores within ``candidates``. Of equal scores the earlier one is selected.

    Args:
        scores: Scores of a layer.
        candidates: Boolean mask of the candidates, with the shape of ``scores``.
        count: Number of elements to select.

    Returns:
        Boolean tensor with the shape of ``scores``.
    """
    return candidates & largest(torch.where(candidates, scores, -torch.inf), count)


def bottom_k_within(importance: torch.Tensor, groups: Sequence[DropGroup], capacity: Count) -> torch.Tensor:
    """Select the least important weights of each group.

    Args:
        importance: Importance of each weight of a layer.
        groups: Groups of weights, each with the number to select.
        capacity: Maximum number of weights selected from all groups.

    Returns:
        Boolean tensor with the shape of ``importance``.
    """
    counts = scale_to_capacity([count for _, count in groups], capacity)
    selected = [top_k_within(-importance, group, count) for (group, _), count in zip(groups, counts, strict=True)]
    return torch.stack(selected).any(0)


def allocate_proportionally(total: int, shares: Sequence[float], capacity: Sequence[int]) -> list[int]:
    """Divide ``total`` into integers in proportion to ``shares``, by largest remainders.

    The surplus of a full layer goes to the others in proportion to their shares. If all of these shares are 0, the
    surplus follows the capacities.

    Args:
        total: Integer to divide.
        shares: Weight of each layer in the division.
        capacity: Capacity of each layer.

    Returns:
        One integer per layer, at most its capacity. The sum is ``total``.

    Raises:
        ValueError: ``total`` is negative or exceeds the sum of the capacities.
    """
    if not 0 <= total <= sum(capacity):
        raise ValueError(f"{total} weights do not fit into {sum(capacity)} positions")
    counts = [0] * len(capacity)
    layers, missing = [layer for layer, free in enumerate(capacity) if free], total
    while layers and missing:
        weights = [shares[layer] for layer in layers]
        if not any(weights):
            weights = [float(capacity[layer]) for layer in layers]
        parts = {layer: missing * weight / sum(weights) for layer, weight in zip(layers, weights, strict=True)}
        full = [layer for layer in layers if parts[layer] >= capacity[layer]]
        if not full:
            return [
                count + extra
                for count, extra in zip(counts, round_to_total(parts, missing, len(capacity)), strict=True)
            ]
        for layer in full:
            counts[layer] = capacity[layer]
            missing -= capacity[layer]
        layers = [layer for layer in layers if layer not in full]
    return counts


def round_to_total(parts: Mapping[int, float], total: int, length: int) -> list[int]:
    """Round ``parts`` to integers with the sum ``total``: the largest remainders are rounded up.

    Args:
        parts: Values by layer index. Missing layers count as 0.
        total: Sum of the result.
        length: Number of layers.
    """
    counts = [int(parts.get(layer, 0)) for layer in range(length)]
    for layer in sorted(parts, key=lambda layer: counts[layer] - parts[layer])[: total - sum(counts)]:
        counts[layer] += 1
    return counts
