"""LTH, OMP and OMP_ERK: the source of the initial weights and of the mask."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch

from sparsweep.trainables.models import maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import dense_counterpart
from sparsweep.trainables.sparsifiers.base import StateDict
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.distributions import erk
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import four_pixels, trial

SPARSITY = 0.8


@cache
def final_state(seed: int) -> StateDict:
    """Return a possible state of a trained dense network: new weights, and new batch-norm weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    state = build_model(trial(seed=seed + 1), four_pixels(classes=10)).state_dict()
    for name, value in state.items():
        if "bn" in name and value.is_floating_point():
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
    return state


def open_trainer(name: str, digits: DeviceData) -> tuple[Trainer, list[TrialSpec]]:
    """Return a trainer before its first step, and the trials whose states it loaded."""
    loaded: list[TrialSpec] = []

    def trained(spec: TrialSpec) -> StateDict:
        loaded.append(spec)
        return final_state(spec.seed)

    spec = trial(sparsifier=name, sparsity=SPARSITY, seed=4)
    return Trainer(spec, digits, torch.arange(40), trained), loaded


@pytest.mark.parametrize("name", ["lth", "omp", "omp_erk"])
def test_parent_is_the_dense_trial_of_the_same_data_and_seed(name: str, digits: DeviceData) -> None:
    run, loaded = open_trainer(name, digits)
    parent = trial(sparsifier="dense", sparsity=0.0, seed=4)
    assert set(loaded) == {parent} == set(run.spec.prerequisites()) == {dense_counterpart(run.spec)}


@pytest.mark.parametrize("name", ["lth", "omp"])
def test_mask_keeps_the_largest_magnitudes_of_the_trained_network(name: str, digits: DeviceData) -> None:
    run, _ = open_trainer(name, digits)
    final = {layer: final_state(4)[layer].abs() for layer in maskable(run.model)}
    magnitudes = torch.cat([value.flatten() for value in final.values()])
    threshold = magnitudes.sort(descending=True).values[num_active(run.masks.size, SPARSITY) - 1]
    for layer, mask in run.masks.items():
        assert torch.equal(mask, final[layer] >= threshold), layer


def test_lth_starts_at_the_initial_weights_and_statistics(digits: DeviceData) -> None:
    run, _ = open_trainer("lth", digits)
    initial = build_model(trial(seed=4), digits).state_dict()
    for name, value in run.model.state_dict().items():
        expected = initial[name] * run.masks[name] if name in run.masks else initial[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("name", ["omp", "omp_erk"])
def test_omp_starts_at_the_trained_weights_and_statistics(name: str, digits: DeviceData) -> None:
    run, _ = open_trainer(name, digits)
    final = final_state(4)
    for key, value in run.model.state_dict().items():
        expected = final[key] * run.masks[key] if key in run.masks else final[key]
        assert torch.equal(value, expected), key
    assert not any(momentum.any() for momentum in run.masked_params.momenta().values()), (
        "a new optimizer has no momentum"
    )


def test_omp_erk_keeps_the_largest_weights_of_each_layer(digits: DeviceData) -> None:
    run, _ = open_trainer("omp_erk", digits)
    shapes = {layer: tuple(mask.shape) for layer, mask in run.masks.items()}
    total = num_active(run.masks.size, SPARSITY)
    densities = erk(shapes, total / run.masks.size)
    counts = run.masks.counts()
    assert sum(counts.values()) == total
    for layer, mask in run.masks.items():
        assert abs(counts[layer] - densities[layer] * math.prod(shapes[layer])) <= 1 + 1e-6, layer
        magnitude = final_state(4)[layer].abs()
        assert mask.all() or magnitude[mask].min() > magnitude[~mask].max(), layer


def test_training_does_not_change_the_state_of_the_parent(digits: DeviceData) -> None:
    """Many trials load the state of one dense network."""
    before = {name: value.clone() for name, value in final_state(4).items()}
    run, _ = open_trainer("omp", digits)
    run.train_epoch()
    assert all(torch.equal(before[name], value) for name, value in final_state(4).items())
