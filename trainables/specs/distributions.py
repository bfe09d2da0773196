"""Distributions of a total density over layers: functions of layer shapes and a density to layer densities.

Every distribution returns densities in [0, 1] whose weighted mean is the requested total. No layer's density rises when
the total falls. Gradual pruning therefore never needs to grow a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]
Distribution = Callable[[Shapes, float], dict[str, float]]

LAST_DENSITY = 0.2
"""Minimum density of the last layer under uniform+ (Gale et al. 2019)."""


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """Return the same density for every layer, first and last included (paper, section 4.1: "Uniform")."""
    return dict.fromkeys(shapes, density)


def uniform_plus(shapes: Shapes, density: float) -> dict[str, float]:
    """Return density 1 for the first layer, at least 0.2 for the last one, and one density for all others.

    Gale et al., "The State of Sparsity in Deep Neural Networks", 2019; Liu et al., ICLR 2022 ("uniform+"). The code of
    Liu et al. does not subtract the dense first layer from the budget. Here the total is always ``density``.

    Args:
        shapes: Weight shape of each layer, by name, in network order.
        density: Total density in [0, 1].

    Raises:
        ValueError: The first and the last layer alone need more weights than the budget.
    """
    first, last = next(iter(shapes)), list(shapes)[-1]
    densities = keep_dense(uniform, shapes, density, {first})
    if densities[last] < LAST_DENSITY:
        middle = {name: shape for name, shape in shapes.items() if name not in {first, last}}
        least = num_weights({first: shapes[first]}) + LAST_DENSITY * num_weights({last: shapes[last]})
        densities |= uniform(middle, remaining_density(density * num_weights(shapes) - least, middle, least, shapes))
        densities[last] = LAST_DENSITY
    return densities


def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Return Erdős-Rényi-Kernel densities (Evci et al., RigL, ICML 2020, section 3).

    For linear layers this is the rule of Mocanu et al. 2018. A layer of shape (d1, d2, ...) has density
    eps * (d1 + d2 + ...) / (d1 * d2 * ...). One eps for all layers makes the total ``density``. A layer above density 1
    becomes dense, and eps is computed again for the others.

    Args:
        shapes: Weight shape of each layer, by name.
        density: Total density in [0, 1].
    """
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    return scale_to_density(raw, shapes, density)


def er(shapes: Shapes, density: float) -> dict[str, float]:
    """Return Erdős-Rényi densities (Mocanu et al. 2018): :func:`erk` with (n_out + n_in) / (n_out * n_in).

    Kernel sizes are ignored: the density of a layer depends only on its channels.

    Args:
        shapes: Weight shape of each layer, by name.
        density: Total density in [0, 1].
    """
    raw = {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()}
    return scale_to_density(raw, shapes, density)


def scale_to_density(raw: Mapping[str, float], shapes: Shapes, density: float) -> dict[str, float]:
    """Return densities eps * raw, at most 1, with the eps that makes the total ``density``.

    Args:
        raw: Unscaled density of each layer, above 0.
        shapes: Weight shape of each layer, by name.
        density: Total density in [0, 1].
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        sparse = [name for name in shapes if name not in dense]
        budget = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        if not sparse or budget <= 0:
            eps = 0.0
            break
        eps = budget / sum(raw[name] * sizes[name] for name in sparse)
        # Only the layers with the largest raw density are certainly dense in the solution.
        largest = max(raw[name] for name in sparse)
        if eps * largest <= 1:
            break
        dense |= {name for name in sparse if raw[name] == largest}
    return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}


DISTRIBUTIONS: dict[str, Distribution] = {"erk": erk, "er": er, "uniform": uniform, "uniform_plus": uniform_plus}


def from_densities(densities: Mapping[str, float]) -> Distribution:
    """Return a distribution that reproduces ``densities`` at their own total.

    At another total, the sparsity of every layer is scaled by the same factor as the total sparsity.
    """

    def scaled(shapes: Shapes, density: float) -> dict[str, float]:
        total = sum(densities[name] * math.prod(shape) for name, shape in shapes.items()) / num_weights(shapes)
        scale = (1 - density) / (1 - total) if total < 1 else 0.0
        return {name: 1 - scale * (1 - densities[name]) for name in shapes}

    return scaled


def keep_dense(by: Distribution, shapes: Shapes, density: float, dense: Collection[str]) -> dict[str, float]:
    """Return densities with some layers at 1 and the rest of the budget distributed over the others.

    Args:
        by: Distribution for the other layers.
        shapes: Weight shape of each layer, by name.
        density: Total density in [0, 1].
        dense: Names of the layers with density 1.

    Raises:
        ValueError: The dense layers alone have more weights than the budget.
    """
    others = {name: shape for name, shape in shapes.items() if name not in dense}
    least = num_weights(shapes) - num_weights(others)
    rest = remaining_density(density * num_weights(shapes) - least, others, least, shapes)
    divided = by(others, rest) if others else {}
    return {name: divided.get(name, 1.0) for name in shapes}


def remaining_density(budget: float, others: Shapes, least: float, shapes: Shapes) -> float:
    """Return the density of ``others`` for a budget of weights.

    Args:
        budget: Number of weights left for ``others``.
        others: Weight shapes of the layers that share the budget.
        least: Number of weights of the layers that must stay active.
        shapes: Weight shapes of all layers.

    Raises:
        ValueError: The budget is negative.
    """
    # 1e-6: rounding errors can put a budget of 0 slightly below 0.
    if budget < -1e-6:
        most = math.floor((1 - least / num_weights(shapes)) * 1000) / 1000
        raise ValueError(f"the layers that must stay active have {math.ceil(least)} weights: use at most {most:g}")
    return max(0.0, budget) / num_weights(others) if others else 0.0


def num_weights(shapes: Shapes) -> int:
    """Return the number of weights in all layers."""
    return sum(math.prod(shape) for shape in shapes.values())


def allocate(
    shapes: Shapes, densities: Mapping[str, float], total: int, capacity: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return an integer number of active weights per layer, by the method of largest remainders.

    Each number differs by less than one from ``densities[name] * size``. The sum is ``total``.

    Args:
        shapes: Weight shape of each layer, by name.
        densities: Density of each layer. Their sum in weights must equal ``total``, within one weight per layer.
        total: Number of active weights in all layers.
        capacity: Maximum number of active weights per layer. Default: the layer's size. If a layer reaches its maximum,
            other layers receive one more weight.

    Raises:
        ValueError: ``total`` does not match ``densities``, or exceeds ``capacity``.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    capacity = capacity or sizes
    targets = {name: min(densities[name], 1.0) * sizes[name] for name in shapes}
    # 1e-6: rounding errors can put an exact integer slightly below its value.
    counts = {name: min(capacity[name], math.floor(targets[name] + 1e-6)) for name in shapes}
    missing = total - sum(counts.values())
    if not 0 <= missing <= min(len(shapes), sum(capacity.values()) - sum(counts.values())):
        raise ValueError(f"total: layer densities give {sum(targets.values()):.1f} active weights (got {total})")
    while missing:
        open_layers = [name for name in shapes if counts[name] < capacity[name]]
        for name in sorted(open_layers, key=lambda name: counts[name] - targets[name])[:missing]:
            counts[name] += 1
            missing -= 1
    return counts
