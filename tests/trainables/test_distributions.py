"""Distribution of a density among layers: the defining equations, examples by hand, and the paper's network."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sparsweep.trainables.models import maskable, models
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.distributions import (
    DISTRIBUTIONS,
    Distribution,
    allocate,
    er,
    erk,
    from_densities,
    keep_dense,
    num_weights,
    uniform,
    uniform_plus,
)

# Paper's ResNet18 with 100 classes, ERK at sparsity 0.8: 9 of 21 tensors are dense. These are the other densities.
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
    """(2, 2) and (4, 12) have raw densities 4/4 and 16/48, which give 4 + 16 weights. 13 of 52: eps = 13/20 = 0.65."""
    densities = erk({"a": (2, 2), "b": (4, 12)}, 13 / 52)
    assert densities == pytest.approx({"a": 0.65, "b": 0.65 / 3}, rel=1e-12)


def test_erk_makes_a_full_layer_dense_and_solves_again_by_hand() -> None:
    """With 26 of 52 weights, eps would be 1.3. The first layer is dense with 4, the second has the other 22 of 48."""
    assert erk({"a": (2, 2), "b": (4, 12)}, 0.5) == pytest.approx({"a": 1.0, "b": 22 / 48}, rel=1e-12)


def test_erk_of_a_dense_network_is_dense() -> None:
    assert erk({"a": (2, 2), "b": (4, 12)}, 1.0) == pytest.approx({"a": 1.0, "b": 1.0})


def test_erk_of_one_layer_is_its_density() -> None:
    assert erk({"a": (3, 5, 2, 2)}, 0.3) == pytest.approx({"a": 0.3})


def test_er_ignores_the_kernel_size_by_hand() -> None:
    """(2, 4, 3, 3) and (4, 4) have raw densities 6/8 and 8/16, which give 54 + 8 weights. 31 of 88: eps = 1/2."""
    assert er({"a": (2, 4, 3, 3), "b": (4, 4)}, 31 / 88) == pytest.approx({"a": 0.375, "b": 0.25}, rel=1e-12)
    linear = {"a": (20, 30), "b": (7, 90)}
    assert er(linear, 0.1) == erk(linear, 0.1), "ER and ERK must be equal without kernels"


def test_uniform_plus_by_hand() -> None:
    """46 of 10 + 40 + 50 weights are active: 10 in the first layer and 36 of the other 90, density 0.4."""
    shapes = {"a": (10,), "b": (40,), "c": (50,)}
    assert uniform_plus(shapes, 0.46) == pytest.approx({"a": 1, "b": 0.4, "c": 0.4}, rel=1e-12)


def test_uniform_plus_keeps_a_fifth_of_the_last_layer_by_hand() -> None:
    """24 are active. 14 of 90 would be less than 0.2, so the last layer keeps 10 and the middle one 4 of 40."""
    shapes = {"a": (10,), "b": (40,), "c": (50,)}
    assert uniform_plus(shapes, 0.24) == pytest.approx({"a": 1, "b": 0.1, "c": 0.2}, rel=1e-12)


def test_uniform_plus_rejects_densities_below_its_minimum() -> None:
    shapes = {"a": (10,), "b": (40,), "c": (50,)}
    assert uniform_plus(shapes, 0.2) == pytest.approx({"a": 1, "b": 0, "c": 0.2}, abs=1e-12)
    with pytest.raises(ValueError, match=r"must stay active have 20 weights: use at most 0\.8$"):
        uniform_plus(shapes, 0.19)


def test_given_densities_are_interpolated_from_dense_by_hand() -> None:
    """Sparsities 0.2 and 0.6 of 10 weights each give 0.4 in total. At half of the total each has half of its own."""
    distribution, shapes = from_densities({"a": 0.8, "b": 0.4}), {"a": (10,), "b": (10,)}
    assert distribution(shapes, 0.6) == pytest.approx({"a": 0.8, "b": 0.4}, rel=1e-12)
    assert distribution(shapes, 0.8) == pytest.approx({"a": 0.9, "b": 0.7}, rel=1e-12)
    assert distribution(shapes, 1.0) == {"a": 1.0, "b": 1.0}


def test_dense_layers_reduce_the_budget_of_the_others_by_hand() -> None:
    """30 of 60 weights are active. A dense layer of 10 leaves 20 for the other 50."""
    shapes = {"a": (10,), "b": (20,), "c": (30,)}
    assert keep_dense(uniform, shapes, 0.5, {"a"}) == pytest.approx({"a": 1, "b": 0.4, "c": 0.4}, rel=1e-12)
    with pytest.raises(ValueError, match=r"must stay active have 40 weights: use at most 0\.333$"):
        keep_dense(uniform, shapes, 0.5, {"a", "c"})


SHAPES = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.one_of(
        st.tuples(*[st.integers(1, 40)] * 2), st.tuples(*[st.integers(1, 16)] * 2, *[st.sampled_from([1, 3])] * 2)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(shapes=SHAPES, density=st.floats(0.01, 0.99), dimensions=st.sampled_from([2, 4]))
def test_erk_and_er_solve_their_equations(shapes: dict[str, tuple[int, ...]], density: float, dimensions: int) -> None:
    """The total is as requested. Sparse layers share one eps. By it dense layers would have a density of at least 1."""
    densities = {2: er, 4: erk}[dimensions](shapes, density)
    raw = {name: sum(shape[:dimensions]) / math.prod(shape[:dimensions]) for name, shape in shapes.items()}
    assert total_of(densities, shapes) == pytest.approx(density * num_weights(shapes))
    assert all(0 < value <= 1 for value in densities.values())
    eps = [densities[name] / raw[name] for name in shapes if densities[name] < 1]
    assume(eps)
    assert eps == pytest.approx([eps[0]] * len(eps))
    assert all(eps[0] * raw[name] >= 1 - 1e-9 for name in shapes if densities[name] == 1)


def total_of(densities: dict[str, float], shapes: dict[str, tuple[int, ...]]) -> float:
    return sum(densities[name] * math.prod(shape) for name, shape in shapes.items())


RULES = [*DISTRIBUTIONS.values(), lambda shapes, density: keep_dense(erk, shapes, density, {next(iter(shapes))})]


@pytest.mark.parametrize("distribution", RULES, ids=[*DISTRIBUTIONS, "dense_first"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes=SHAPES, low=st.floats(0.01, 1), high=st.floats(0.01, 1))
def test_totals_are_as_requested_and_densities_are_monotone_in_the_total(
    distribution: Distribution, shapes: dict[str, tuple[int, ...]], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    try:
        low_densities = distribution(shapes, low)
    except ValueError:
        assert distribution is not erk and distribution is not er and distribution is not uniform
        assume(False)
    high_densities = distribution(shapes, high)
    for densities, density in ((low_densities, low), (high_densities, high)):
        assert list(densities) == list(shapes)
        assert all(-1e-9 <= value <= 1 + 1e-9 for value in densities.values())
        assert total_of(densities, shapes) == pytest.approx(density * num_weights(shapes))
    assert all(low_densities[name] <= high_densities[name] + 1e-9 for name in shapes)


def test_uniform_has_the_same_density_in_every_layer() -> None:
    assert uniform({"a": (2, 2), "b": (4, 12)}, 0.3) == {"a": 0.3, "b": 0.3}


def test_allocate_by_largest_remainders_by_hand() -> None:
    """4.4 + 2.7 + 3.9 = 11. The floors 4 + 2 + 3 leave two, which go to the remainders 0.9 and 0.7."""
    shapes = {"a": (11,), "b": (9,), "c": (13,)}
    assert allocate(shapes, {"a": 0.4, "b": 0.3, "c": 0.3}, 11) == {"a": 4, "b": 3, "c": 4}


def test_allocate_gives_ties_to_the_earlier_layer() -> None:
    assert allocate({"a": (5,), "b": (5,)}, {"a": 0.5, "b": 0.5}, 5) == {"a": 3, "b": 2}


def test_allocate_does_not_exceed_the_size_of_a_layer() -> None:
    assert allocate({"a": (4,), "b": (10,)}, {"a": 1.0, "b": 0.25}, 7) == {"a": 4, "b": 3}


def test_allocate_respects_capacities_by_hand() -> None:
    """2.9 + 2.9 + 4.2 = 10. The layers with the two largest remainders are full, so the third gets their weights."""
    shapes, densities = {"a": (10,), "b": (10,), "c": (10,)}, {"a": 0.29, "b": 0.29, "c": 0.42}
    assert allocate(shapes, densities, 10) == {"a": 3, "b": 3, "c": 4}
    assert allocate(shapes, densities, 10, {"a": 2, "b": 2, "c": 7}) == {"a": 2, "b": 2, "c": 6}


@pytest.mark.parametrize("total", [2, 8, 0, 21])
def test_allocate_rejects_a_total_that_differs_from_the_densities(total: int) -> None:
    with pytest.raises(ValueError, match=rf"total: layer densities give 5\.0 active weights \(got {total}\)"):
        allocate({"a": (10,), "b": (10,)}, {"a": 0.25, "b": 0.25}, total)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(shapes=SHAPES, sparsity=st.floats(0.01, 0.99), distribution=st.sampled_from([erk, uniform]))
def test_allocate_is_exact_and_within_one_weight(
    shapes: dict[str, tuple[int, ...]], sparsity: float, distribution: object
) -> None:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = num_active(sum(sizes.values()), sparsity)
    densities = (erk if distribution is erk else uniform)(shapes, total / sum(sizes.values()))
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
    total = num_active(size, sparsity)
    assert sum(allocate(shapes, erk(shapes, total / size), total).values()) == total
