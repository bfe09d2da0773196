"""The fields that methods share which divide their weights among layers: counts, ends, draws, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.base import layer_shapes
from sparsweep.trainables.sparsifiers.layer_budget import LayerBudget, keep_bernoulli
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.distributions import DISTRIBUTIONS, num_weights
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import begin, trial

SHAPES = layer_shapes(trial().model, trial().dataset)
TOTAL = num_weights(SHAPES)


def sparse(sparsifier: Any, sparsity: float = 0.8, **changes: Any) -> TrialSpec:
    return trial(sparsifier=sparsifier, sparsity=sparsity, **changes)


def error(sparsifier: Any, sparsity: float = 0.8) -> str:
    with pytest.raises(ValidationError) as caught:
        sparse(sparsifier, sparsity)
    return format_error(caught.value)


def test_shapes_are_those_of_the_network_without_building_it(digits: DeviceData) -> None:
    model = build_model(trial(), digits)
    assert {name: tuple(model.get_parameter(name).shape) for name in SHAPES} == SHAPES


@pytest.mark.parametrize("name", ["random", "set", "snip", "omp", "lth", "gmp"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_any_method_takes_any_distribution(name: str, distribution: str) -> None:
    spec = sparse({"name": name, "distribution": distribution})
    assert from_json(to_json(spec)) == spec and hash(from_json(to_json(spec))) == hash(spec)


@pytest.mark.parametrize("name", ["random", "snip"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_layer_counts_are_the_distributions(name: str, distribution: str, digits: DeviceData) -> None:
    run = begin(sparse({"name": name, "distribution": distribution}), digits)
    densities = DISTRIBUTIONS[distribution](SHAPES, num_active(TOTAL, 0.8) / TOTAL)
    for layer, count in run.masks.counts().items():
        assert abs(count - densities[layer] * math.prod(SHAPES[layer])) <= 1 + 1e-6, layer


def test_ranked_within_layers_the_largest_of_each_stay() -> None:
    """Half of each layer by ``uniform``: .9 of the first and .6 of the second, though .5 is larger than .2."""
    scores = {"a": torch.tensor([0.1, 0.9, 0.5, 0.3]), "b": torch.tensor([0.6, 0.2])}
    masks = LayerBudget(name="any", distribution="uniform").top_k(scores, 3)
    assert {name: mask.int().tolist() for name, mask in masks.items()} == {"a": [0, 1, 1, 0], "b": [1, 0]}


def test_ranked_together_with_a_dense_end_by_hand() -> None:
    scores = {"a": torch.tensor([0.1, 0.9]), "b": torch.tensor([0.6, 0.7, 0.8]), "c": torch.tensor([0.5, 0.2])}
    kept = {
        ends: {name: mask.int().tolist() for name, mask in LayerBudget(name="any", **fields).top_k(scores, 4).items()}
        for ends, fields in {
            "none": {},
            "first": {"dense_first": True},
            "both": {"dense_first": True, "dense_last": True},
        }.items()
    }
    assert kept["none"] == {"a": [0, 1], "b": [1, 1, 1], "c": [0, 0]}
    assert kept["first"] == {"a": [1, 1], "b": [0, 1, 1], "c": [0, 0]}
    assert kept["both"] == {"a": [1, 1], "b": [0, 0, 0], "c": [1, 1]}


@pytest.mark.parametrize("name", ["random", "set", "snip", "uniform"])
def test_dense_ends_are_dense_and_the_total_is_exact(name: str, digits: DeviceData) -> None:
    run = begin(sparse({"name": name, "dense_first": True, "dense_last": True}), digits)
    first, *others, last = run.masks.values()
    assert first.all() and last.all() and not all(mask.all() for mask in others)
    assert sum(run.masks.counts().values()) == num_active(TOTAL, 0.8)


def test_densities_given_by_layer_are_kept(digits: DeviceData) -> None:
    given = {name: 0.3 if len(shape) == 4 else 0.9 for name, shape in SHAPES.items()}
    kept = sum(given[name] * math.prod(shape) for name, shape in SHAPES.items())
    spec = sparse({"name": "random", "distribution": given}, round(1 - kept / TOTAL, 6))
    for layer, count in begin(spec, digits).masks.counts().items():
        assert abs(count - given[layer] * math.prod(SHAPES[layer])) <= 1, layer
    again = from_json(to_json(spec))
    assert again == spec and again.id == spec.id and hash(again) == hash(spec)
    backwards = dict(reversed(given.items()))
    assert sparse({"name": "random", "distribution": backwards}, spec.sparsity).id == spec.id


def test_what_cannot_be_is_refused_with_the_field_the_value_and_the_choices() -> None:
    quarter = dict.fromkeys(SHAPES, 0.25)
    first = next(iter(SHAPES))
    assert error({"name": "random", "distribution": "erkk"}) == (
        "sparsifier.distribution: unknown distribution 'erkk' (did you mean erk?); "
        "choose from erk, er, uniform, uniform_plus, a density for every layer by name"
    )
    assert error({"name": "random", "distribution": "global"}).startswith(
        "sparsifier.distribution: unknown distribution 'global'"
    )
    assert error({"name": "random", "distribution": {**quarter, first: 1.5}}) == (
        f"sparsifier.distribution: the density of layer {first} must be in [0, 1] (got 1.5)."
    )
    assert error({"name": "random", "distribution": {first: 0.5}}).startswith(
        "sparsifier.distribution: no density for layer1.0.conv1.weight, "
    )
    assert error({"name": "random", "distribution": {**quarter, "fc": 0.5}}).startswith(
        "sparsifier.distribution: unknown layer 'fc'; choose from conv1.weight, "
    )
    assert error({"name": "random", "distribution": quarter}) == (
        f"sparsifier.distribution: the densities keep {TOTAL / 4:.0f} of {TOTAL} weights, not {round(TOTAL / 5)}. "
        "Set sparsity to 0.750000 (got 0.8)."
    )
    assert error({"name": "random", "distribution": "uniform_plus", "dense_last": True}) == (
        "sparsifier.dense_last: the distribution sets this density (got true). Leave it out."
    )
    assert error({"name": "snip", "dense_last": True}, 0.999).startswith(
        "sparsity: the layers that must stay active have "
    )
    assert error({"name": "uniform", "distribution": "erk"}) == (
        "sparsifier.distribution: Input should be 'uniform' (got 'erk')"
    )
    assert error({"name": "snip", "counts": "bernoulli"}) == (
        "sparsifier.counts: 'bernoulli' needs random positions (got shuffle: false). Set shuffle: true."
    )


# D6 ------------------------------------------------------------------------------------------------------------------


def test_bernoulli_masks_miss_their_counts_by_chance_alone() -> None:
    """40 draws of 3000 in 10,000: the mean is 3000 and the deviation sqrt(2100) = 46, to five standard errors."""
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.zeros(100, 100)}
    counts = torch.tensor([keep_bernoulli(weights, {"a": 3000}, generator).counts()["a"] for _ in range(40)]).double()
    assert abs(counts.mean().item() - 3000) < 5 * 46 / math.sqrt(40)
    assert 46 * 0.5 < counts.std().item() < 46 * 1.6


def test_bernoulli_keeps_dense_layers_dense_and_empty_ones_empty() -> None:
    masks = keep_bernoulli({"a": torch.zeros(99), "b": torch.zeros(99)}, {"a": 99, "b": 0}, torch.Generator())
    assert masks["a"].all() and not masks["b"].any()


@pytest.mark.parametrize("name", ["random", "uniform", "set"])
def test_drawn_counts_pass_where_the_method_allows_them(name: str, digits: DeviceData) -> None:
    spec = sparse({"name": name, "counts": "bernoulli"})
    run = begin(spec, digits)
    kept, asked = sum(run.masks.counts().values()), num_active(TOTAL, 0.8)
    assert 0 < abs(kept - asked) <= spec.sparsifier.count_tolerance(TOTAL, spec) < 0.1 * TOTAL
    assert sparse(name).sparsifier.count_tolerance(TOTAL, sparse(name)) == 0


def test_the_slack_is_that_of_bernstein_by_hand() -> None:
    """2 exp(-t^2 / (2 v + 2 t / 3)) = 1e-9 at variance v = 10,000 x .8 x .2 = 1600: t = 268.9."""
    spec = sparse({"name": "random", "counts": "bernoulli"})
    slack = spec.sparsifier.count_tolerance(10_000, spec)
    chance = [2 * math.exp(-(t**2) / (2 * 1600 + 2 * t / 3)) for t in (slack - 1, slack)]
    assert chance[1] <= 1e-9 < chance[0]


def test_a_mask_beyond_the_slack_is_refused(digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(weights: Any, counts: Any, generator: torch.Generator) -> Masks:
        return Masks.full(weights)

    monkeypatch.setattr("sparsweep.trainables.sparsifiers.layer_budget.RANDOM_MASKS", {"bernoulli": everything})
    with pytest.raises(AssertionError, match="random: masks before step -1 must have"):
        begin(sparse({"name": "random", "counts": "bernoulli"}), digits)


def test_shuffling_keeps_the_counts_of_a_ranking_and_the_weights_of_the_parent(digits: DeviceData) -> None:
    """D4: OMP_ERK as the authors' code has it is a random ERK mask on the dense network's weights."""
    final = dict(build_model(trial(seed=9), digits).state_dict())

    def opened(**fields: Any) -> Trainer:
        spec = sparse({"name": "omp_erk", **fields})
        return Trainer(spec, digits, torch.arange(40), lambda parent: final)

    ranked, shuffled = opened(), opened(shuffle=True)
    assert shuffled.masks.counts() == ranked.masks.counts()
    for layer, mask in shuffled.masks.items():
        assert torch.equal(shuffled.model.get_parameter(layer), final[layer] * mask)
        magnitude = final[layer].abs()
        if 10 < int(mask.sum()) < mask.numel() - 10:
            assert magnitude[mask].min() < magnitude[~mask].max(), "magnitude plays no part"
