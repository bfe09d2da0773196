"""Contract of sparsifiers: exact counts, exact zeros, and equal bits after a resume and in another process."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.sparsifiers.base import layer_shapes
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.testing import (
    check_own_randomness,
    check_resume,
    check_shared_batches,
    check_shared_start,
    check_shortest,
    fake_parent_state,
    first_samples,
    train_and_check,
)
from sparsweep.trainables.training.trainer import Trainer
from support import mask_digests
from support.contract_settings import EPOCHS, NUM_SAMPLES, SPARSIFIER_NAMES, TOTAL, TinyConvNet, start, training, trial

SPARSITIES = (0.1, 0.5, 0.9, 0.99)
SPARSE = [name for name in SPARSIFIER_NAMES if name != "dense"]
DISTRIBUTIONS = {
    "bayesian_connectivity": distributions.erk,
    "dsr": distributions.uniform,
    "itop": distributions.erk,
    "mest": distributions.erk,
    "nm": distributions.uniform,
    "omp_erk": distributions.erk,
    "random": distributions.erk,
    "rigl": distributions.erk,
    "set": distributions.erk,
    "snfs": distributions.uniform,
    "topkast": distributions.erk,
    "uniform": distributions.uniform,
}
CHANGING = {"bayesian_connectivity", "dsr", "gmp", "itop", "mest", "movement", "nm", "rigl", "set", "snfs", "topkast"}
"""Methods whose masks change during training with the small arguments of the tests."""
UNCHANGED = ("topkast", 0.9)
"""Method and sparsity with constant masks: in nine steps no masked weight exceeds an active one."""
SEEDLESS = {"static"}
"""Methods with masks from a file, which do not depend on the seed."""

each_sparsifier = pytest.mark.parametrize("name", SPARSIFIER_NAMES)


@each_sparsifier
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_counts_and_zeros_are_exact_during_training(name: str, sparsity: float) -> None:
    run = train_and_check(trial(name, sparsity))
    assert run.steps == EPOCHS * math.ceil(NUM_SAMPLES / run.spec.recipe.batch_size)
    assert run.evaluations == EPOCHS
    assert sum(run.masks.counts().values()) == num_active(TOTAL, run.spec.sparsity)
    # At sparsity 0.99 SET has one weight per layer. Half of one weight rounds to 0, and the masks do not change.
    if sparsity < 0.99 and (name, sparsity) != UNCHANGED:
        assert run.masks_per_step[0].equal(run.masks_per_step[-1]) != (name in CHANGING)


@st.composite
def networks(draw: st.DrawFn, name: str) -> TinyConvNet:
    """Draw tiny networks with different numbers of channels, down to one. ``static`` needs the default network."""
    if name == "static":
        return TinyConvNet()
    return TinyConvNet(width=draw(st.integers(1, 16)), features=draw(st.integers(1, 24)))


@pytest.mark.parametrize("name", SPARSE)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(drawn=st.data(), sparsity=st.floats(0.01, 0.99), seed=st.integers(0, 2**31 - 2))
def test_counts_and_zeros_are_exact_for_any_shapes_sparsity_and_seed(
    name: str, drawn: st.DataObject, sparsity: float, seed: int
) -> None:
    recipe = trial(name).recipe.model_copy(update={"epochs": 2})
    run = train_and_check(trial(name, sparsity, seed, model=drawn.draw(networks(name)), recipe=recipe))
    active, expected = sum(run.masks.counts().values()), num_active(run.masks.size, run.spec.sparsity)
    assert active == expected


@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
@settings(max_examples=25, deadline=None, derandomize=True)
@given(drawn=st.data(), sparsity=st.floats(0.01, 0.99), seed=st.integers(0, 2**31 - 2))
def test_layer_counts_follow_the_distribution_to_within_one_weight(
    name: str, drawn: st.DataObject, sparsity: float, seed: int
) -> None:
    spec = trial(name, sparsity, seed, model=drawn.draw(networks(name)))
    counts = spec.sparsifier.initialize(start(spec)).counts()
    shapes = layer_shapes(spec.model, spec.dataset)
    total = distributions.num_weights(shapes)
    densities = DISTRIBUTIONS[name](shapes, num_active(total, spec.sparsity) / total)
    for layer, shape in shapes.items():
        assert abs(counts[layer] - densities[layer] * math.prod(shape)) <= 1 + 1e-6, layer


@pytest.mark.parametrize("name", ["set", "rigl", "itop", "mest", "topkast"])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_updates_within_layers_do_not_change_the_layer_counts(name: str, sparsity: float) -> None:
    run = train_and_check(trial(name, sparsity))
    assert {tuple(masks.counts().items()) for masks in run.masks_per_step} == {
        tuple(run.masks_per_step[0].counts().items())
    }


@each_sparsifier
@pytest.mark.parametrize("first", range(1, EPOCHS))
def test_resumed_training_equals_uninterrupted_training(name: str, first: int) -> None:
    check_resume(trial(name), first)


@pytest.mark.parametrize("name", sorted(CHANGING))
def test_masks_are_updated_at_the_steps_where_the_resume_test_stops(name: str) -> None:
    run = training(trial(name))
    assert {epoch * len(run.batches) for epoch in range(1, EPOCHS)} <= run.update_steps


@each_sparsifier
def test_masks_do_not_depend_on_other_random_generators(name: str) -> None:
    check_own_randomness(trial(name))


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_another_process_gives_the_same_masks(hash_seed: str) -> None:
    """Neither Python's hash seed nor draws from the global generators change the masks."""
    program = [sys.executable, str(Path(mask_digests.__file__)), "7", *(["draw"] if hash_seed != "0" else [])]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    other = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=120)
    torch.manual_seed(int(hash_seed))
    expected = {name: mask_digests.digests(name, 7) for name in SPARSIFIER_NAMES}
    assert json.loads(other.stdout) == expected
    assert all(len(expected[name]) > 1 for name in CHANGING)


@pytest.mark.parametrize("name", SPARSE)
def test_another_seed_gives_other_masks(name: str) -> None:
    first, other = (mask_digests.digests(name, seed)[-1] for seed in (0, 1))
    assert (first == other) == (name in SEEDLESS)


# Arms of one comparison ----------------------------------------------------------------------------------------------


@each_sparsifier
def test_arms_share_initial_weights(name: str) -> None:
    """All methods start from the initial weights of the dense network, or from its final weights if they declare it."""
    check_shared_start(trial(name, seed=5))


@pytest.mark.parametrize("name", SPARSE)
def test_arms_share_batches_to_the_pixel(name: str) -> None:
    check_shared_batches(trial(name, seed=5))


@each_sparsifier
def test_prerequisites_have_no_prerequisites(name: str) -> None:
    """Prerequisites of a method have the same data and seed, and can start immediately."""
    spec = trial(name, seed=5)
    for parent in spec.sparsifier.prerequisites(spec):
        assert (parent.seed, parent.dataset, parent.recipe) == (spec.seed, spec.dataset, spec.recipe)
        assert parent.id != spec.id and not parent.sparsifier.prerequisites(parent)
        assert fake_parent_state(parent).keys() == fake_parent_state(spec).keys()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_sparsifier
def test_method_trains_on_a_gpu_with_prerequisites_loaded_on_the_cpu(name: str) -> None:
    run = Trainer(trial(name), first_samples(NUM_SAMPLES, "cuda"), torch.arange(NUM_SAMPLES), fake_parent_state)
    for _ in range(EPOCHS):
        run.train_epoch()
    assert {mask.device.type for mask in run.masks.values()} == {"cuda"}


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("samples", [2, 11])
def test_shortest_training_reaches_the_sparsity(name: str, samples: int) -> None:
    """The shortest training has one epoch of one or two batches. It must end at the target sparsity."""
    check_shortest(trial(name), samples)
