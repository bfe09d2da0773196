"""What methods share that divide the weights they keep among layers: their fields, and the choice itself.

- :class:`LayerBudget`: a ranking of all weights together (``global``), or within layers of given densities;
- :class:`RandomMask`: positions drawn at random within such layers;
- :class:`SaliencyPruning`: weights ranked by a score before training, where ``shuffle`` keeps nothing but the layer
counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import InitContext, MaskedSparsifier, Sparsifier, layer_shapes
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.masks import (
    Masks,
    num_active,
    random_per_layer,
    top_k_global,
    top_k_per_layer,
    uniform_scores,
)
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.base import HashableDict, SpecError, unknown_choice
from sparsweep.trainables.specs.distributions import DISTRIBUTIONS, Distribution, Shapes
from sparsweep.trainables.specs.trial import TrialSpec

GLOBAL = "global"


def _parse(value: Any, names: tuple[str, ...]) -> str | HashableDict:
    """One of ``names``, or a density in [0, 1] for every layer by name."""
    if not isinstance(value, Mapping):
        if value not in names:
            why = unknown_choice("distribution", value, [*names, "a density for every layer by name"])
            raise SpecError("", why)
        return str(value)
    for layer, density in value.items():
        if not isinstance(density, int | float) or not 0 <= density <= 1:
            why = f"the density of layer {layer} must lie in [0, 1], got {density!r}"
            raise ValueError(why)
    return HashableDict({str(layer): float(density) for layer, density in value.items()})


LAYER_NAMES = tuple(DISTRIBUTIONS)
BY_LAYER = f"how dense each layer is: {', '.join(LAYER_NAMES)}, or {{layer: density}}"
BY_RANK = f"global: all weights are ranked together; or {BY_LAYER}"

LayerDistribution = Annotated[str | Mapping[str, float], PlainValidator(partial(_parse, names=LAYER_NAMES))]
"""A distribution of layer densities: its name, or the densities themselves."""
AnyDistribution = Annotated[str | Mapping[str, float], PlainValidator(partial(_parse, names=(GLOBAL, *LAYER_NAMES)))]
"""The same, or ``global``: layers compete, and the densities are what comes out."""


class LayerBudget(Sparsifier):
    """A method whose layers share the weights that are kept; one that moves weights between layers begins so."""

    distribution: AnyDistribution = Field(default=GLOBAL, description=BY_RANK)
    dense_first: bool = Field(default=False, description="the first layer is not pruned")
    dense_last: bool = Field(default=False, description="the last layer is not pruned")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        own_ends = isinstance(self.distribution, Mapping) or self.distribution == "uniform_plus"
        if not own_ends and not self.dense_first and not self.dense_last:
            return  # no layer is kept whatever the sparsity: possible in every network
        for field in ("dense_first", "dense_last"):
            if own_ends and getattr(self, field):
                raise SpecError(f"sparsifier.{field}", "the distribution says itself how dense the first and last are")
        shapes = layer_shapes(spec.model, spec.dataset)
        kept = num_active(distributions.num_weights(shapes), spec.sparsity)
        if isinstance(self.distribution, Mapping):
            validate_layer_densities(self.distribution, shapes, kept, spec.sparsity)
        try:
            self.densities(shapes, kept / distributions.num_weights(shapes))
        except ValueError as error:
            raise SpecError("sparsity", f"{error}, got {spec.sparsity}") from None

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Layer densities at a total one; ValueError where the layers that stay dense are more than that."""
        return distributions.keep_dense(self._rule, shapes, density, self.dense_layers(list(shapes)))

    @property
    def _rule(self) -> Distribution:
        if isinstance(self.distribution, Mapping):
            return distributions.from_densities(self.distribution)
        # A global ranking has no rule; any one tells whether what stays dense leaves room for it.
        return DISTRIBUTIONS["uniform" if self.distribution == GLOBAL else self.distribution]

    def dense_layers(self, layers: list[str]) -> set[str]:
        """Those of ``layers`` (in the order of the network) that are not pruned."""
        return {*layers[: int(self.dense_first)], *layers[len(layers) - int(self.dense_last) :]}

    def top_k(self, scores: Tensors, kept: int, max_per_layer: Masks | None = None) -> Masks:
        """Keep exactly the ``kept`` largest scores: of all together, or within layers of the distribution's densities.

        ``within``: no layer keeps more weights than it has there (for a method that never revives one).
        """
        if self.distribution == GLOBAL:
            dense = self.dense_layers(list(scores))
            first = {name: torch.full_like(scores[name], torch.inf) for name in dense}
            return top_k_global({name: first.get(name, score) for name, score in scores.items()}, kept)
        shapes = {name: tuple(score.shape) for name, score in scores.items()}
        densities = self.densities(shapes, kept / distributions.num_weights(shapes))
        room = max_per_layer.counts() if max_per_layer else None
        return top_k_per_layer(scores, distributions.allocate(shapes, densities, kept, room))


def validate_layer_densities(densities: Mapping[str, float], shapes: Shapes, kept: int, sparsity: float) -> None:
    """ValueError if densities given by layer are not those of this network at this sparsity."""
    for layer in densities:
        if layer not in shapes:
            raise SpecError("sparsifier.distribution", f"{unknown_choice('layer', layer, shapes)}")
    missing = [layer for layer in shapes if layer not in densities]
    if missing:
        raise SpecError("sparsifier.distribution", f"no density for {', '.join(missing)}")
    total = distributions.num_weights(shapes)
    given = sum(densities[name] * math.prod(shape) for name, shape in shapes.items())
    if abs(given - kept) > len(shapes):
        why = f"it keeps {given:.0f} of {total} weights: say sparsity {1 - given / total:.6f}, not {sparsity}"
        raise SpecError("sparsifier.distribution", f"{why}")


class RandomMask(LayerBudget):
    """A method that draws positions at random, within layers of given densities."""

    distribution: LayerDistribution = Field(default="erk", description=BY_LAYER)
    counts: Literal["exact", "bernoulli"] = Field(
        default="exact", description="exact in every layer, or each weight drawn by itself (D6)"
    )

    def initialize(self, start: InitContext) -> Masks:
        return self.draw(start, start.layer_counts(self.densities))

    def draw(self, start: InitContext, counts: Mapping[str, int]) -> Masks:
        """Random masks that keep ``counts[name]`` of each layer: exactly, or in the mean."""
        return RANDOM_MASKS[self.counts](start.weights, counts, start.generator)

    def count_tolerance(self, total: int, spec: TrialSpec) -> int:
        if self.counts == "exact":
            return 0
        # Bernstein's inequality: a sum of independent draws misses its mean by more once in 10^9.
        variance, tail = total * spec.sparsity * (1 - spec.sparsity), math.log(2e9)
        return math.ceil(tail / 3 + math.sqrt((tail / 3) ** 2 + 2 * tail * variance))


def keep_bernoulli(weights: Tensors, counts: Mapping[str, int], generator: torch.Generator) -> Masks:
    """Keep each weight with its layer's probability ``counts[name]`` of its size, whatever becomes of the others."""
    chance = uniform_scores(weights, generator)
    return Masks({name: chance[name] < counts[name] / weight.numel() for name, weight in weights.items()})


RANDOM_MASKS = {"exact": random_per_layer, "bernoulli": keep_bernoulli}


class SaliencyPruning(RandomMask, MaskedSparsifier):
    """A method that ranks the weights by a score before training."""

    distribution: AnyDistribution = Field(default=GLOBAL, description=BY_RANK)
    shuffle: bool = Field(
        default=False,
        description="within each layer positions are drawn anew: only the layer counts are the score's (D3, D4)",
    )

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.counts == "bernoulli" and not self.shuffle:
            raise SpecError("sparsifier.counts", "bernoulli is for positions that are drawn: set shuffle: true")

    def scores(self, start: InitContext) -> Tensors:
        """How much each weight matters; the largest are kept."""
        raise NotImplementedError

    def prune(self, start: InitContext) -> Masks:
        """The masks that the scores choose."""
        return self.top_k(self.scores(start), start.num_active)

    def initialize(self, start: InitContext) -> Masks:
        masks = self.prune(start)
        return self.draw(start, masks.counts()) if self.shuffle else masks
