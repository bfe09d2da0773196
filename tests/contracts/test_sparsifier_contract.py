"""What every sparsifier owes: exact counts, exact zeros, the same bits after a resume and in another process."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import mask_digests
import pytest
import torch
from contract_settings import (
    EPOCHS,
    LAYERS,
    SAMPLES,
    SPARSIFIER_NAMES,
    Listening,
    assert_same,
    comparable,
    start,
    tiny_data,
    trained,
    training,
    trial,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables import checkpoint
from trainables.data import DeviceData
from trainables.models import maskable
from trainables.sparsifiers import Masks, distributions
from trainables.sparsifiers.masks import kept_weights
from trainables.sparsifiers.topology import DenseMomentum, Latent
from trainables.spec import TrialSpec
from trainables.training import Training, build_model

TOTAL = sum(math.prod(shape) for shape in LAYERS.values())
SPARSITIES = (0.1, 0.5, 0.9, 0.99)
SPARSE = [name for name in SPARSIFIER_NAMES if name != "dense"]
DISTRIBUTIONS = {
    "bayesian_connectivity": distributions.erk,
    "dsr": distributions.uniform,
    "itop": distributions.erk,
    "mest": distributions.erk,
    "random": distributions.erk,
    "rigl": distributions.erk,
    "set": distributions.erk,
    "snfs": distributions.uniform,
    "omp_erk": distributions.erk,
    "topkast": distributions.erk,
    "uniform": distributions.uniform,
}
CHANGING = {"bayesian_connectivity", "dsr", "gmp", "itop", "mest", "movement", "rigl", "set", "snfs", "topkast"}
"""The methods whose masks change during training with the small arguments of the tests."""
CALM = ("topkast", 0.9)
"""Where in nine steps no weight outgrows one of the few that are in force, so that the masks stay."""

each_sparsifier = pytest.mark.parametrize("name", SPARSIFIER_NAMES)


class Watched(Training):
    """A training that checks its masks, weights and momenta after every step and at every evaluation."""

    steps = 0
    evaluations = 0
    seen: list[Masks]

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, attack: torch.Generator, step: int
    ) -> torch.Tensor:
        check_masks(self, step)
        check_zeros(self)
        result = super().train_step(images, labels, attack, step)
        check_zeros(self)
        self.seen = [*getattr(self, "seen", []), self.masks]
        self.steps += 1
        return result

    def evaluate(self) -> dict[str, float | None]:
        check_zeros(self)
        self.evaluations += 1
        return super().evaluate()


def check_masks(run: Training, step: int) -> None:
    """The masks are masks of this network, and keep as many weights as they must at ``step``."""
    assert isinstance(run.masks, Masks)
    assert {name: tuple(mask.shape) for name, mask in run.masks.items()} == LAYERS
    assert list(run.masks) == list(LAYERS)
    asked = run.spec.sparsifier.kept_at(TOTAL, step, run.spec, run.timeline)
    assert sum(int(mask.sum()) for mask in run.masks.values()) == asked


def check_zeros(run: Training) -> None:
    """Every masked weight is zero, and so is its momentum, unless the topology trains it out of sight."""
    trained = run.topology.reach if isinstance(run.topology, Latent) else run.masks
    for name, weight in maskable(run.model).items():
        assert not weight.detach()[~run.masks[name]].any(), f"{name}: a masked weight is not zero"
        momentum = run.optimizer.state[weight].get("momentum_buffer")
        if momentum is not None and not isinstance(run.topology, DenseMomentum):
            assert not momentum[~trained[name]].any(), f"{name}: a masked momentum is not zero"


def run_whole(spec: TrialSpec) -> Watched:
    run = training(spec, Watched)
    assert isinstance(run, Watched)
    for _ in range(spec.recipe.epochs):
        run.train_epoch()
    return run


@each_sparsifier
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_counts_and_zeros_hold_along_a_whole_training(name: str, sparsity: float) -> None:
    run = run_whole(trial(name, sparsity))
    assert run.steps == EPOCHS * math.ceil(SAMPLES / run.spec.recipe.batch_size)
    assert run.evaluations == EPOCHS
    assert sum(run.masks.counts().values()) == kept_weights(TOTAL, run.spec.sparsity)
    if sparsity < 0.99 and (name, sparsity) != CALM:  # there SET has one weight a layer, and half of one rounds to none
        assert run.seen[0].equal(run.seen[-1]) != (name in CHANGING)


@pytest.mark.parametrize("name", SPARSE)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(sparsity=st.floats(0.01, 0.99), seed=st.integers(0, 2**31 - 2))
def test_counts_and_zeros_hold_at_any_sparsity_and_seed(name: str, sparsity: float, seed: int) -> None:
    recipe = trial(name).recipe.model_copy(update={"epochs": 2})
    run = run_whole(trial(name, sparsity, seed, recipe=recipe))
    assert sum(run.masks.counts().values()) == kept_weights(TOTAL, sparsity)


@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
@settings(max_examples=25, deadline=None, derandomize=True)
@given(sparsity=st.floats(0.01, 0.99), seed=st.integers(0, 2**31 - 2))
def test_layers_follow_the_distribution_to_within_one_weight(name: str, sparsity: float, seed: int) -> None:
    spec = trial(name, sparsity, seed)
    counts = spec.sparsifier.initialize(start(spec)).counts()
    densities = DISTRIBUTIONS[name](LAYERS, kept_weights(TOTAL, sparsity) / TOTAL)
    for layer, shape in LAYERS.items():
        assert abs(counts[layer] - densities[layer] * math.prod(shape)) <= 1 + 1e-6, layer


@pytest.mark.parametrize("name", ["set", "rigl", "itop", "mest", "topkast"])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_rewiring_within_layers_leaves_the_count_of_every_layer_as_it_was(name: str, sparsity: float) -> None:
    run = run_whole(trial(name, sparsity))
    assert {tuple(masks.counts().items()) for masks in run.seen} == {tuple(run.seen[0].counts().items())}


@each_sparsifier
@pytest.mark.parametrize("first", range(1, EPOCHS))
def test_resumed_training_equals_uninterrupted_bit_for_bit(name: str, first: int) -> None:
    spec = trial(name)
    whole, begun = training(spec), training(spec)
    for _ in range(EPOCHS):
        whole.train_epoch()
    for _ in range(first):
        begun.train_epoch()
    if name in CHANGING:
        assert first * len(begun.batches) in begun.update_steps, "no update falls on the boundary: the test is too easy"
    saved = checkpoint.encode(begun.state())
    resumed = training(spec)
    resumed.restore(checkpoint.decode(saved))
    assert resumed.epoch == first
    for _ in range(EPOCHS - first):
        resumed.train_epoch()
    assert_same(comparable(resumed), comparable(whole))
    assert resumed.forward_flops == whole.forward_flops


def test_gmp_updates_at_a_boundary_where_the_resume_test_stops() -> None:
    run = training(trial("gmp"))
    boundaries = {epoch * len(run.batches) for epoch in range(1, EPOCHS)}
    assert boundaries <= run.update_steps


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_another_process_gives_the_same_masks(hash_seed: str) -> None:
    """Whatever Python's hash seed is, and after numbers were drawn from the global generators."""
    program = [sys.executable, str(Path(mask_digests.__file__)), "7", *(["draw"] if hash_seed != "0" else [])]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    other = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=120)
    torch.manual_seed(int(hash_seed))
    here = {name: mask_digests.digests(name, 7) for name in SPARSIFIER_NAMES}
    assert json.loads(other.stdout) == here
    assert all(len(here[name]) > 1 for name in CHANGING)


@pytest.mark.parametrize("name", SPARSE)
def test_another_seed_gives_other_masks(name: str) -> None:
    assert mask_digests.digests(name, 0)[-1] != mask_digests.digests(name, 1)[-1]


# Arms of one comparison ----------------------------------------------------------------------------------------------


@each_sparsifier
def test_arms_share_initial_weights(name: str, data: DeviceData) -> None:
    """All methods start from the dense network's weights: its initial ones, or its final ones where they say so."""
    spec = trial(name, seed=5)
    run = training(spec)
    begin = start(spec)
    final = spec.sparsifier.starting_state(begin)
    expected = dict(build_model(trial("dense", seed=5), data).state_dict()) if final is None else dict(final)
    for layer, mask in run.masks.items():
        expected[layer] = torch.where(mask, expected[layer], torch.tensor(0.0))
    found = run.model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in found)  # by value: a masked weight may be -0.0


@pytest.mark.parametrize("name", SPARSE)
def test_arms_share_batches_to_the_pixel(name: str) -> None:
    dense, sparse = (training(trial(method, seed=5), Listening) for method in ("dense", name))
    assert isinstance(dense, Listening) and isinstance(sparse, Listening)
    for _ in range(2):
        dense.train_epoch(), sparse.train_epoch()
    assert len(dense.heard) == 6
    assert_same(sparse.heard, dense.heard)


@each_sparsifier
def test_prerequisites_are_trials_that_need_no_others(name: str) -> None:
    """One generation: what a method asks for is on the same data and seed, and can start at once."""
    spec = trial(name, seed=5)
    for parent in spec.sparsifier.requirements(spec):
        assert (parent.seed, parent.dataset, parent.recipe) == (spec.seed, spec.dataset, spec.recipe)
        assert parent.id != spec.id and not parent.sparsifier.requirements(parent)
        assert trained(parent).keys() == trained(spec).keys()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_sparsifier
def test_trains_on_a_gpu_with_prerequisites_read_on_the_cpu(name: str, data: DeviceData) -> None:
    device = torch.device("cuda")
    fields = ("train_images", "train_labels", "test_images", "test_labels")
    moved = DeviceData(*(getattr(data, field).to(device) for field in fields), data.classes, data.mean, data.std)
    run = Training(trial(name), moved, torch.arange(SAMPLES), trained)
    for _ in range(EPOCHS):
        run.train_epoch()
    assert {mask.device.type for mask in run.masks.values()} == {"cuda"}


@pytest.mark.parametrize("name", sorted(set(SPARSIFIER_NAMES) - {"dense"}))
@pytest.mark.parametrize("samples", [2, 11])
def test_the_shortest_training_reaches_the_sparsity(name: str, samples: int) -> None:
    """One epoch of one or two batches is the shortest training there is; it must end at the asked sparsity too."""
    recipe = trial(name).recipe.model_copy(update={"epochs": 1})
    run = Training(trial(name, recipe=recipe), first_samples(samples), torch.arange(samples), trained)
    run.train_epoch()
    assert sum(run.masks.counts().values()) == kept_weights(TOTAL, 0.8)


def first_samples(samples: int) -> DeviceData:
    whole = tiny_data()
    images, labels = whole.train_images[:samples], whole.train_labels[:samples]
    return DeviceData(images, labels, whole.test_images, whole.test_labels, 10, whole.mean, whole.std)
