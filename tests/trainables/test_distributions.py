"""How a density is divided among layers: the equations themselves, and the paper's network."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainables.models import maskable, models
from trainables.sparsifiers.distributions import allocate, erk, uniform
from trainables.sparsifiers.masks import kept_weights

# Paper's ResNet18 at 100 classes, ERK at sparsity .8: 9 of 21 tensors are dense, the others as here.
RESNET18_AT_80 = {
    "layer2.0.conv1": 0.739,
    "layer2.0.conv2": 0.489,
    "layer2.1.conv1": 0.489,
    "layer2.1.conv2": 0.489,
    "layer3.0.conv1": 0.364,
    "layer3.0.conv2": 0.242,
    "layer3.1.conv1": 0.242,
    "layer3.1.conv2": 0.242,
    "layer4.0.conv1": 0.181,
    "layer4.0.conv2": 0.120,
    "layer4.1.conv1": 0.120,
    "layer4.1.conv2": 0.120,
}


@cache
def resnet18_shapes() -> dict[str, tuple[int, ...]]:
    module = models["resnet18"]().build(100, ([0.5] * 3, [0.25] * 3))
    return {name.removesuffix(".weight"): tuple(weight.shape) for name, weight in maskable(module).items()}


def test_erk_of_the_papers_network() -> None:
    densities = erk(resnet18_shapes(), 0.2)
    dense = [name for name, density in densities.items() if density == 1]
    assert len(densities) == 21 and len(dense) == 9
    assert set(dense) == {"conv1", "linear", *(name for name in densities if "layer1" in name or "shortcut" in name)}
    assert {name: round(density, 3) for name, density in densities.items() if density < 1} == RESNET18_AT_80


def test_erk_by_hand() -> None:
    """(2, 2) and (4, 12): raw 4/4 and 16/48, so sizes times raw are 4 and 16; 13 of 52 weights: eps = 13/20 = .65."""
    densities = erk({"a": (2, 2), "b": (4, 12)}, 13 / 52)
    assert densities == pytest.approx({"a": 0.65, "b": 0.65 / 3}, rel=1e-12)


def test_erk_makes_a_layer_dense_and_solves_again_by_hand() -> None:
    """At 26 of 52, eps would be 1.3: the first layer is dense and keeps 4, the second takes the other 22 of 48."""
    assert erk({"a": (2, 2), "b": (4, 12)}, 0.5) == pytest.approx({"a": 1.0, "b": 22 / 48}, rel=1e-12)


def test_erk_of_a_dense_network_is_dense() -> None:
    assert erk({"a": (2, 2), "b": (4, 12)}, 1.0) == pytest.approx({"a": 1.0, "b": 1.0})


def test_erk_of_one_layer_is_its_density() -> None:
    assert erk({"a": (3, 5, 2, 2)}, 0.3) == pytest.approx({"a": 0.3})


SHAPES = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.one_of(
        st.tuples(*[st.integers(1, 40)] * 2), st.tuples(*[st.integers(1, 16)] * 2, *[st.sampled_from([1, 3])] * 2)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(shapes=SHAPES, density=st.floats(0.01, 0.99))
def test_erk_solves_its_equation(shapes: dict[str, tuple[int, ...]], density: float) -> None:
    """The total is the asked one; sparse layers share one eps, and it would take every dense layer to 1 or beyond."""
    densities = erk(shapes, density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    assert sum(densities[name] * sizes[name] for name in shapes) == pytest.approx(density * sum(sizes.values()))
    assert all(0 < value <= 1 for value in densities.values())
    eps = [densities[name] / raw[name] for name in shapes if densities[name] < 1]
    assume(eps)
    assert eps == pytest.approx([eps[0]] * len(eps))
    assert all(eps[0] * raw[name] >= 1 - 1e-9 for name in shapes if densities[name] == 1)


def test_uniform_is_the_same_everywhere() -> None:
    assert uniform({"a": (2, 2), "b": (4, 12)}, 0.3) == {"a": 0.3, "b": 0.3}


def test_allocate_by_largest_remainders_by_hand() -> None:
    """4.4 + 2.7 + 3.9 = 11: floors 4 + 2 + 3 leave two, which go to .9 and .7."""
    shapes = {"a": (11,), "b": (9,), "c": (13,)}
    assert allocate(shapes, {"a": 0.4, "b": 0.3, "c": 0.3}, 11) == {"a": 4, "b": 3, "c": 4}


def test_allocate_gives_ties_to_the_earlier_layer() -> None:
    assert allocate({"a": (5,), "b": (5,)}, {"a": 0.5, "b": 0.5}, 5) == {"a": 3, "b": 2}


def test_allocate_never_fills_a_layer_beyond_its_size() -> None:
    assert allocate({"a": (4,), "b": (10,)}, {"a": 1.0, "b": 0.25}, 7) == {"a": 4, "b": 3}


@pytest.mark.parametrize("total", [2, 8, 0, 21])
def test_allocate_refuses_a_total_that_the_densities_do_not_give(total: int) -> None:
    with pytest.raises(ValueError, match=rf"layer densities ask for 5\.0 weights, not {total}"):
        allocate({"a": (10,), "b": (10,)}, {"a": 0.25, "b": 0.25}, total)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(shapes=SHAPES, sparsity=st.floats(0.01, 0.99), by=st.sampled_from([erk, uniform]))
def test_allocate_is_exact_and_within_one_weight(
    shapes: dict[str, tuple[int, ...]], sparsity: float, by: object
) -> None:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = kept_weights(sum(sizes.values()), sparsity)
    densities = (erk if by is erk else uniform)(shapes, total / sum(sizes.values()))
    counts = allocate(shapes, densities, total)
    assert list(counts) == list(shapes)
    assert sum(counts.values()) == total
    for name, size in sizes.items():
        assert 0 <= counts[name] <= size
        assert abs(counts[name] - densities[name] * size) <= 1 + 1e-6


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_allocate_for_the_papers_network(sparsity: float) -> None:
    shapes = resnet18_shapes()
    size = sum(math.prod(shape) for shape in shapes.values())
    assert size == 11_210_432
    total = kept_weights(size, sparsity)
    assert sum(allocate(shapes, erk(shapes, total / size), total).values()) == total
