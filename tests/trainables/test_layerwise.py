"""Shared fields of methods that distribute weights among layers: counts, dense ends, random masks, and errors."""

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
from support.tiny_trials import create_trainer, trial

SHAPES = layer_shapes(trial().model, trial().dataset)
TOTAL = num_weights(SHAPES)


def sparse(sparsifier: Any, sparsity: float = 0.8, **changes: Any) -> TrialSpec:
    return trial(sparsifier=sparsifier, sparsity=sparsity, **changes)


def spec_error(sparsifier: Any, sparsity: float = 0.8) -> str:
    with pytest.raises(ValidationError) as caught:
        sparse(sparsifier, sparsity)
    return format_error(caught.value)


def test_layer_shapes_equal_those_of_the_built_network(digits: DeviceData) -> None:
    model = build_model(trial(), digits)
    assert {name: tuple(model.get_parameter(name).shape) for name in SHAPES} == SHAPES


@pytest.mark.parametrize("name", ["random", "set", "snip", "omp", "lth", "gmp"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_all_methods_accept_all_distributions(name: str, distribution: str) -> None:
    spec = sparse({"name": name, "distribution": distribution})
    assert from_json(to_json(spec)) == spec and hash(from_json(to_json(spec))) == hash(spec)


@pytest.mark.parametrize("name", ["random", "snip"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_layer_counts_follow_the_distribution(name: str, distribution: str, digits: DeviceData) -> None:
    run = create_trainer(sparse({"name": name, "distribution": distribution}), digits)
    densities = DISTRIBUTIONS[distribution](SHAPES, num_active(TOTAL, 0.8) / TOTAL)
    for layer, count in run.masks.counts().items():
        assert abs(count - densities[layer] * math.prod(SHAPES[layer])) <= 1 + 1e-6, layer


def test_top_k_with_a_distribution_ranks_within_layers() -> None:
    """``uniform`` keeps half of each layer: 0.9 and 0.8 of the first, 0.6 of the second.

    The three largest scores of the network are all in the first layer.
    """
    scores = {"a": torch.tensor([0.1, 0.9, 0.8, 0.7]), "b": torch.tensor([0.6, 0.2])}
    masks = LayerBudget(name="any", distribution="uniform").top_k(scores, 3)
    assert {name: mask.int().tolist() for name, mask in masks.items()} == {"a": [0, 1, 1, 0], "b": [1, 0]}


def test_top_k_over_all_layers_with_dense_ends_by_hand() -> None:
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
    run = create_trainer(sparse({"name": name, "dense_first": True, "dense_last": True}), digits)
    first, *others, last = run.masks.values()
    assert first.all() and last.all() and not all(mask.all() for mask in others)
    assert sum(run.masks.counts().values()) == num_active(TOTAL, 0.8)


def test_densities_by_layer_are_kept(digits: DeviceData) -> None:
    densities_by_layer = {name: 0.3 if len(shape) == 4 else 0.9 for name, shape in SHAPES.items()}
    kept = sum(densities_by_layer[name] * math.prod(shape) for name, shape in SHAPES.items())
    spec = sparse({"name": "random", "distribution": densities_by_layer}, round(1 - kept / TOTAL, 6))
    for layer, count in create_trainer(spec, digits).masks.counts().items():
        assert abs(count - densities_by_layer[layer] * math.prod(SHAPES[layer])) <= 1, layer
    again = from_json(to_json(spec))
    assert again == spec and again.id == spec.id and hash(again) == hash(spec)
    reversed_densities = dict(reversed(densities_by_layer.items()))
    assert sparse({"name": "random", "distribution": reversed_densities}, spec.sparsity).id == spec.id


def test_errors_name_the_field_the_value_and_the_choices() -> None:
    quarter = dict.fromkeys(SHAPES, 0.25)
    first = next(iter(SHAPES))
    assert spec_error({"name": "random", "distribution": "erkk"}) == (
        "sparsifier.distribution: unknown distribution 'erkk' (did you mean erk?); "
        "choose from erk, er, uniform, uniform_plus, a density for every layer by name"
    )
    assert spec_error({"name": "random", "distribution": "global"}).startswith(
        "sparsifier.distribution: unknown distribution 'global'"
    )
    assert spec_error({"name": "random", "distribution": {**quarter, first: 1.5}}) == (
        f"sparsifier.distribution: the density of layer {first} must be in [0, 1] (got 1.5)."
    )
    assert spec_error({"name": "random", "distribution": {first: 0.5}}).startswith(
        "sparsifier.distribution: no density for layer1.0.conv1.weight, "
    )
    assert spec_error({"name": "random", "distribution": {**quarter, "fc": 0.5}}).startswith(
        "sparsifier.distribution: unknown layer 'fc'; choose from conv1.weight, "
    )
    assert spec_error({"name": "random", "distribution": quarter}) == (
        f"sparsifier.distribution: the densities keep {TOTAL / 4:.0f} of {TOTAL} weights, not {round(TOTAL / 5)}. "
        "Set sparsity to 0.750000 (got 0.8)."
    )
    assert spec_error({"name": "random", "distribution": "uniform_plus", "dense_last": True}) == (
        "sparsifier.dense_last: the distribution sets this density (got true). Leave it out."
    )
    assert spec_error({"name": "snip", "dense_last": True}, 0.999).startswith(
        "sparsity: the layers that must stay active have "
    )
    assert spec_error({"name": "uniform", "distribution": "erk"}) == (
        "sparsifier.distribution: Input should be 'uniform' (got 'erk')"
    )
    assert spec_error({"name": "snip", "counts": "bernoulli"}) == (
        "sparsifier.counts: 'bernoulli' needs random positions (got shuffle: false). Set shuffle: true."
    )


# D6 ------------------------------------------------------------------------------------------------------------------


def test_bernoulli_counts_have_the_expected_mean_and_deviation() -> None:
    """40 draws of 3000 in 10,000: mean 3000 within five standard errors, standard deviation sqrt(2100) = 46."""
    generator = torch.Generator().manual_seed(0)
    weights = {"a": torch.zeros(100, 100)}
    counts = torch.tensor([keep_bernoulli(weights, {"a": 3000}, generator).counts()["a"] for _ in range(40)]).double()
    assert abs(counts.mean().item() - 3000) < 5 * 46 / math.sqrt(40)
    assert 46 * 0.5 < counts.std().item() < 46 * 1.6


def test_bernoulli_keeps_dense_layers_dense_and_empty_ones_empty() -> None:
    masks = keep_bernoulli({"a": torch.zeros(99), "b": torch.zeros(99)}, {"a": 99, "b": 0}, torch.Generator())
    assert masks["a"].all() and not masks["b"].any()


@pytest.mark.parametrize("name", ["random", "uniform", "set"])
def test_bernoulli_counts_stay_within_the_tolerance(name: str, digits: DeviceData) -> None:
    spec = sparse({"name": name, "counts": "bernoulli"})
    run = create_trainer(spec, digits)
    kept, expected = sum(run.masks.counts().values()), num_active(TOTAL, 0.8)
    assert 0 < abs(kept - expected) <= spec.sparsifier.count_tolerance(TOTAL, spec) < 0.1 * TOTAL
    assert sparse(name).sparsifier.count_tolerance(TOTAL, sparse(name)) == 0


def test_the_count_tolerance_follows_bernsteins_inequality_by_hand() -> None:
    """The variance is v = 10,000 x 0.8 x 0.2 = 1600. 2 exp(-t^2 / (2 v + 2 t / 3)) = 1e-9 gives t = 268.9."""
    spec = sparse({"name": "random", "counts": "bernoulli"})
    tolerance = spec.sparsifier.count_tolerance(10_000, spec)
    probability = [2 * math.exp(-(t**2) / (2 * 1600 + 2 * t / 3)) for t in (tolerance - 1, tolerance)]
    assert probability[1] <= 1e-9 < probability[0]


def test_a_mask_beyond_the_tolerance_is_an_error(digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_masks(weights: Any, counts: Any, generator: torch.Generator) -> Masks:
        return Masks.full(weights)

    monkeypatch.setattr("sparsweep.trainables.sparsifiers.layer_budget.RANDOM_MASKS", {"bernoulli": full_masks})
    with pytest.raises(AssertionError, match="random: masks before step -1 must have"):
        create_trainer(sparse({"name": "random", "counts": "bernoulli"}), digits)


def test_shuffle_keeps_layer_counts_and_parent_weights(digits: DeviceData) -> None:
    """D4: OMP_ERK in the authors' code is a random ERK mask on the weights of the dense network."""
    final = dict(build_model(trial(seed=9), digits).state_dict())

    def trainer(**fields: Any) -> Trainer:
        spec = sparse({"name": "omp_erk", **fields})
        return Trainer(spec, digits, torch.arange(40), lambda parent: final)

    ranked, shuffled = trainer(), trainer(shuffle=True)
    assert shuffled.masks.counts() == ranked.masks.counts()
    for layer, mask in shuffled.masks.items():
        assert torch.equal(shuffled.model.get_parameter(layer), final[layer] * mask)
        magnitude = final[layer].abs()
        if 10 < int(mask.sum()) < mask.numel() - 10:
            assert magnitude[mask].min() < magnitude[~mask].max(), "magnitude must have no effect"
