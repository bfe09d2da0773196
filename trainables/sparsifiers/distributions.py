"""How a total density is divided among layers. A distribution maps layer shapes and a density to layer densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Shapes = Mapping[str, Sequence[int]]


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """The same density in every layer, first and last included (paper, section 4.1: "Uniform")."""
    return dict.fromkeys(shapes, density)


def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Erdős-Rényi-Kernel densities (Evci et al., RigL, ICML 2020, section 3; Mocanu et al. 2018 for linear layers).

    Layer l of shape (d1, d2, ...) gets density eps * (d1 + d2 + ...) / (d1 * d2 * ...), with the one eps that makes
    the total ``density``. A layer that would exceed 1 is dense, and eps is solved again for the others.
    """
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        sparse = [name for name in shapes if name not in dense]
        budget = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        if not sparse or budget <= 0:
            eps = 0.0
            break
        eps = budget / sum(raw[name] * sizes[name] for name in sparse)
        # The layers with the largest raw density first: only they are sure to be dense at the solution.
        worst = max(raw[name] for name in sparse)
        if eps * worst <= 1:
            break
        dense |= {name for name in sparse if raw[name] == worst}
    return {name: 1.0 if name in dense else eps * raw[name] for name in shapes}


def allocate(shapes: Shapes, densities: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers of weights: each within one of ``densities[name] * size``, and ``total`` together.

    The method of largest remainders; ``total`` must be the rounded sum of what ``densities`` ask for, to within one
    weight a layer, else ValueError.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    asked = {name: min(densities[name], 1.0) * sizes[name] for name in shapes}
    # 1e-6: an exact whole number that floating point left just below must not lose a weight.
    counts = {name: min(sizes[name], math.floor(asked[name] + 1e-6)) for name in shapes}
    missing = total - sum(counts.values())
    open_layers = [name for name in shapes if counts[name] < sizes[name]]
    if not 0 <= missing <= len(open_layers):
        raise ValueError(f"layer densities ask for {sum(asked.values()):.1f} weights, not {total}")
    for name in sorted(open_layers, key=lambda name: counts[name] - asked[name])[:missing]:
        counts[name] += 1
    return counts
