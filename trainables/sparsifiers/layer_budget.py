"""Base classes of methods that divide the active weights among layers.

- :class:`LayerBudget`: rank all weights together (``global``), or within layers of given densities;
- :class:`RandomMask`: draw positions at random within these layers;
- :class:`SaliencyPruning`: rank weights by a score before training. ``shuffle`` keeps only the layer counts.
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
    """Parse one of ``names``, or a mapping from layer name to a density in [0, 1]."""
    if not isinstance(value, Mapping):
        if value not in names:
            problem = unknown_choice("distribution", value, [*names, "a density for every layer by name"])
            raise SpecError("", problem)
        return str(value)
    for layer, density in value.items():
        if not isinstance(density, int | float) or not 0 <= density <= 1:
            raise ValueError(f"the density of layer {layer} must be in [0, 1] (got {density!r}).")
    return HashableDict({str(layer): float(density) for layer, density in value.items()})


LAYER_NAMES = tuple(DISTRIBUTIONS)
BY_LAYER = f"layer densities: {', '.join(LAYER_NAMES)}, or {{layer: density}}"
BY_RANK = f"global: all weights are ranked together; or {BY_LAYER}"

LayerDistribution = Annotated[str | Mapping[str, float], PlainValidator(partial(_parse, names=LAYER_NAMES))]
"""Distribution of layer densities: its name, or the densities by layer name."""
AnyDistribution = Annotated[str | Mapping[str, float], PlainValidator(partial(_parse, names=(GLOBAL, *LAYER_NAMES)))]
"""As ``LayerDistribution``, or ``global``: all weights are ranked together, and layer densities follow."""


class LayerBudget(Sparsifier):
    """Method that divides the active weights among layers, at least before training."""

    distribution: AnyDistribution = Field(default=GLOBAL, description=BY_RANK)
    dense_first: bool = Field(default=False, description="do not prune the first layer")
    dense_last: bool = Field(default=False, description="do not prune the last layer")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        sets_ends = isinstance(self.distribution, Mapping) or self.distribution == "uniform_plus"
        if not sets_ends and not self.dense_first and not self.dense_last:
            return  # no layer must stay dense: every network and sparsity works
        for field in ("dense_first", "dense_last"):
            if sets_ends and getattr(self, field):
                raise SpecError(
                    f"sparsifier.{field}",
                    "the distribution sets this density (got true). Leave it out.",
                )
        shapes = layer_shapes(spec.model, spec.dataset)
        kept = num_active(distributions.num_weights(shapes), spec.sparsity)
        if isinstance(self.distribution, Mapping):
            validate_layer_densities(self.distribution, shapes, kept, spec.sparsity)
        try:
            self.densities(shapes, kept / distributions.num_weights(shapes))
        except ValueError as error:
            raise SpecError("sparsity", f"{error} (got {spec.sparsity}).") from None

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Return the layer densities at a total density.

        Args:
            shapes: Weight shapes by layer name.
            density: Total density in [0, 1].

        Raises:
            ValueError: The layers that stay dense already exceed the total.
        """
        return distributions.keep_dense(self._rule, shapes, density, self.dense_layers(list(shapes)))

    @property
    def _rule(self) -> Distribution:
        if isinstance(self.distribution, Mapping):
            return distributions.from_densities(self.distribution)
        # A global ranking has no rule. Any rule shows whether the dense layers leave enough weights for the others.
        return DISTRIBUTIONS["uniform" if self.distribution == GLOBAL else self.distribution]

    def dense_layers(self, layers: list[str]) -> set[str]:
        """Return the layers of ``layers`` (in network order) that are not pruned."""
        return {*layers[: int(self.dense_first)], *layers[len(layers) - int(self.dense_last) :]}

    def top_k(self, scores: Tensors, kept: int, max_per_layer: Masks | None = None) -> Masks:
        """Keep exactly the ``kept`` largest scores: globally, or within layers of the distribution's densities.

        Args:
            scores: Scores by layer name.
            kept: Number of active weights.
            max_per_layer: Masks whose counts limit each layer, for methods that never regrow a weight.
        """
        if self.distribution == GLOBAL:
            dense = self.dense_layers(list(scores))
            infinite = {name: torch.full_like(scores[name], torch.inf) for name in dense}
            return top_k_global({name: infinite.get(name, score) for name, score in scores.items()}, kept)
        shapes = {name: tuple(score.shape) for name, score in scores.items()}
        densities = self.densities(shapes, kept / distributions.num_weights(shapes))
        capacity = max_per_layer.counts() if max_per_layer else None
        return top_k_per_layer(scores, distributions.allocate(shapes, densities, kept, capacity))


def validate_layer_densities(densities: Mapping[str, float], shapes: Shapes, kept: int, sparsity: float) -> None:
    """Check densities by layer against the network and the sparsity.

    Args:
        densities: Densities by layer name.
        shapes: Weight shapes of the network by layer name.
        kept: Target number of active weights.
        sparsity: Target sparsity.

    Raises:
        SpecError: A layer is unknown or missing, or the densities give another sparsity.
    """
    for layer in densities:
        if layer not in shapes:
            raise SpecError("sparsifier.distribution", f"{unknown_choice('layer', layer, shapes)}")
    missing = [layer for layer in shapes if layer not in densities]
    if missing:
        raise SpecError("sparsifier.distribution", f"no density for {', '.join(missing)}. Every layer needs one.")
    total = distributions.num_weights(shapes)
    given = sum(densities[name] * math.prod(shape) for name, shape in shapes.items())
    if abs(given - kept) > len(shapes):
        problem = f"the densities keep {given:.0f} of {total} weights, not {kept}"
        fix = f"Set sparsity to {1 - given / total:.6f} (got {sparsity})."
        raise SpecError("sparsifier.distribution", f"{problem}. {fix}")


class RandomMask(LayerBudget):
    """Method that draws random positions within layers of given densities."""

    distribution: LayerDistribution = Field(default="erk", description=BY_LAYER)
    counts: Literal["exact", "bernoulli"] = Field(
        default="exact", description="exact: exact counts per layer; bernoulli: independent draws (D6)"
    )

    def initialize(self, start: InitContext) -> Masks:
        return self.draw(start, start.layer_counts(self.densities))

    def draw(self, start: InitContext, counts: Mapping[str, int]) -> Masks:
        """Draw random masks.

        Args:
            start: Inputs of the initialization.
            counts: Number of active weights by layer: exact, or the mean of Bernoulli draws.
        """
        return RANDOM_MASKS[self.counts](start.weights, counts, start.generator)

    def count_tolerance(self, total: int, spec: TrialSpec) -> int:
        if self.counts == "exact":
            return 0
        # Bernstein's inequality: a sum of independent draws exceeds this deviation with probability 1e-9.
        variance, tail = total * spec.sparsity * (1 - spec.sparsity), math.log(2e9)
        return math.ceil(tail / 3 + math.sqrt((tail / 3) ** 2 + 2 * tail * variance))


def keep_bernoulli(weights: Tensors, counts: Mapping[str, int], generator: torch.Generator) -> Masks:
    """Keep each weight independently with probability ``counts[name]`` / size of its layer.

    Args:
        weights: Weights by layer name.
        counts: Mean number of active weights by layer name.
        generator: Generator of the draw.
    """
    chance = uniform_scores(weights, generator)
    return Masks({name: chance[name] < counts[name] / weight.numel() for name, weight in weights.items()})


RANDOM_MASKS = {"exact": random_per_layer, "bernoulli": keep_bernoulli}


class SaliencyPruning(RandomMask, MaskedSparsifier):
    """Method that ranks the weights by a score before training."""

    distribution: AnyDistribution = Field(default=GLOBAL, description=BY_RANK)
    shuffle: bool = Field(
        default=False,
        description="draw positions at random within each layer: only the layer counts come from the score (D3, D4)",
    )

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if self.counts == "bernoulli" and not self.shuffle:
            raise SpecError(
                "sparsifier.counts",
                "'bernoulli' needs random positions (got shuffle: false). Set shuffle: true.",
            )

    def scores(self, start: InitContext) -> Tensors:
        """Return the importance of each weight. The largest are kept."""
        raise NotImplementedError

    def prune(self, start: InitContext) -> Masks:
        """Return the masks that the scores select."""
        return self.top_k(self.scores(start), start.num_active)

    def initialize(self, start: InitContext) -> Masks:
        masks = self.prune(start)
        return self.draw(start, masks.counts()) if self.shuffle else masks
