"""How a total density is divided among layers. A distribution maps layer shapes and a density to layer densities.

All of them give densities in [0, 1] that add up to the asked total, and none of a layer's densities rises when the
total falls, so that gradual pruning never wants a weight back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]
Distribution = Callable[[Shapes, float], dict[str, float]]

LAST_DENSITY = 0.2
"""Uniform+ leaves the classifier at least this dense (Gale et al. 2019)."""


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """The same density in every layer, first and last included (paper, section 4.1: "Uniform")."""
    return dict.fromkeys(shapes, density)


def uniform_plus(shapes: Shapes, density: float) -> dict[str, float]:
    """The first layer dense, the last one at least .2 dense, one density for all others.

    Gale et al., "The State of Sparsity in Deep Neural Networks", 2019; Liu et al., ICLR 2022 ("uniform+"), whose code
    does not take the dense first layer out of the budget. Here the total is ``density`` whatever the layers;
    ValueError where the two layers alone are more.
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
    """Erdős-Rényi-Kernel densities (Evci et al., RigL, ICML 2020, section 3; Mocanu et al. 2018 for linear layers).

    Layer l of shape (d1, d2, ...) gets density eps * (d1 + d2 + ...) / (d1 * d2 * ...), with the one eps that makes
    the total ``density``. A layer that would exceed 1 is dense, and eps is solved again for the others.
    """
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    return scale_to_density(raw, shapes, density)


def er(shapes: Shapes, density: float) -> dict[str, float]:
    """Erdős-Rényi densities (Mocanu et al. 2018): as :func:`erk`, with (n_out + n_in) / (n_out * n_in) alone.

    The sides of a kernel are left out, so that a layer's density depends on its channels only.
    """
    raw = {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()}
    return scale_to_density(raw, shapes, density)


def scale_to_density(raw: Mapping[str, float], shapes: Shapes, density: float) -> dict[str, float]:
    """Densities eps * raw, at most 1, with the one eps that makes the total ``density``."""
    amounts = {name: math.prod(shape) for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        sparse = [name for name in shapes if name not in dense]
        budget = density * sum(amounts.values()) - sum(amounts[name] for name in dense)
        if not sparse or budget <= 0:
            eps = 0.0
            break
        eps = budget / sum(raw[name] * amounts[name] for name in sparse)
        # The layers with the largest raw density first: only they are sure to be dense at the solution.
        worst = max(raw[name] for name in sparse)
        if eps * worst <= 1:
            break
        dense |= {name for name in sparse if raw[name] == worst}
    return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}


DISTRIBUTIONS: dict[str, Distribution] = {"erk": erk, "er": er, "uniform": uniform, "uniform_plus": uniform_plus}


def from_densities(densities: Mapping[str, float]) -> Distribution:
    """The distribution that gives these very densities at their own total.

    At another total each layer keeps its share of all that is pruned: its sparsity is scaled like the total's.
    """

    def given(shapes: Shapes, density: float) -> dict[str, float]:
        total = sum(densities[name] * math.prod(shape) for name, shape in shapes.items()) / num_weights(shapes)
        scale = (1 - density) / (1 - total) if total < 1 else 0.0
        return {name: 1 - scale * (1 - densities[name]) for name in shapes}

    return given


def keep_dense(by: Distribution, shapes: Shapes, density: float, dense: Collection[str]) -> dict[str, float]:
    """Densities with the layers ``dense`` at 1 and the rest of the budget divided among the others ``by`` a rule.

    ValueError where the dense layers alone are more than the budget.
    """
    others = {name: shape for name, shape in shapes.items() if name not in dense}
    least = num_weights(shapes) - num_weights(others)
    rest = remaining_density(density * num_weights(shapes) - least, others, least, shapes)
    divided = by(others, rest) if others else {}
    return {name: divided.get(name, 1.0) for name in shapes}


def remaining_density(budget: float, others: Shapes, least: float, shapes: Shapes) -> float:
    """The density of ``others`` that ``budget`` weights give; ValueError where what is set apart leaves nothing."""
    # 1e-6: a budget of nothing that floating point left just below it is none.
    if budget < -1e-6:
        most = math.floor((1 - least / num_weights(shapes)) * 1000) / 1000
        raise ValueError(f"the layers that must be kept hold {math.ceil(least)} weights: at most {most:g} is possible")
    return max(0.0, budget) / num_weights(others) if others else 0.0


def num_weights(shapes: Shapes) -> int:
    """Number of weights of all layers together."""
    return sum(math.prod(shape) for shape in shapes.values())


def allocate(
    shapes: Shapes, densities: Mapping[str, float], total: int, room: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Whole numbers of weights: each within one of ``densities[name] * size``, and ``total`` together.

    The method of largest remainders; ``total`` must be the rounded sum of what ``densities`` ask for, to within one
    weight a layer, else ValueError. ``room``: no layer is given more than this (else its size); where that binds,
    other layers take one weight more.
    """
    amounts = {name: math.prod(shape) for name, shape in shapes.items()}
    room = room or amounts
    asked = {name: min(densities[name], 1.0) * amounts[name] for name in shapes}
    # 1e-6: an exact whole number that floating point left just below must not lose a weight.
    counts = {name: min(room[name], math.floor(asked[name] + 1e-6)) for name in shapes}
    missing = total - sum(counts.values())
    if not 0 <= missing <= min(len(shapes), sum(room.values()) - sum(counts.values())):
        raise ValueError(f"layer densities ask for {sum(asked.values()):.1f} weights, not {total}")
    while missing:
        open_layers = [name for name in shapes if counts[name] < room[name]]
        for name in sorted(open_layers, key=lambda name: counts[name] - asked[name])[:missing]:
            counts[name] += 1
            missing -= 1
    return counts
