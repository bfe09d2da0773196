"""Checks for user-defined sparsifiers: the guarantees of all built-in methods, on a tiny network in a second.

Example test of a package with a method::

        from sparsweep.trainables.testing import check_sparsifier

        def test_my_method() -> None:
            check_sparsifier(MyMethod(update_every=1))

Every check raises AssertionError. If a method changes its masks, choose arguments with a change at the end of an epoch
(three steps): the checks stop and resume at these points. Weights of another seed replace the outputs of other trials
that the method needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sparsweep.trainables._tiny_training import (
    BATCH_SIZE,
    EPOCHS,
    LAYERS,
    NUM_SAMPLES,
    TOTAL,
    TinyConvNet,
    fake_parent_state,
    first_samples,
    init_context,
    tiny_data,
    tiny_trial,
    training,
)
from sparsweep.trainables.models import maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.runs.soundness import check_training
from sparsweep.trainables.sparsifiers import Masks, Sparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.base import layer_shapes
from sparsweep.trainables.sparsifiers.masked_params import DenseMomentumParams, LatentParams
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.training.trainer import Trainer

__all__ = [
    "BATCH_SIZE",
    "EPOCHS",
    "LAYERS",
    "NUM_SAMPLES",
    "TOTAL",
    "CheckedTrainer",
    "TinyConvNet",
    "check_masks",
    "check_own_randomness",
    "check_registered",
    "check_resume",
    "check_same",
    "check_shared_batches",
    "check_shared_start",
    "check_shortest",
    "check_sparsifier",
    "check_zeros",
    "comparable",
    "fake_parent_state",
    "first_samples",
    "init_context",
    "tiny_data",
    "tiny_trial",
    "train_and_check",
    "training",
]


class CheckedTrainer(Trainer):
    """Training that checks its masks, weights and momenta before and after every step.

    Attributes:
        masks_per_step: Masks of every step.
        batches_per_step: Images, labels and random numbers of every step.
        steps: Number of steps so far.
        evaluations: Number of evaluations so far.
    """

    steps = 0
    evaluations = 0

    def __init__(self, *arguments: Any) -> None:
        self.masks_per_step: list[Masks] = []
        self.batches_per_step: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        super().__init__(*arguments)

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        check_masks(self, step)
        check_zeros(self)
        self.batches_per_step.append((images.clone(), labels.clone(), noise.clone()))
        result = super().train_step(images, labels, noise, step)
        check_zeros(self)
        self.masks_per_step.append(self.masks)
        self.steps += 1
        return result

    def evaluate(self) -> dict[str, float | None]:
        check_zeros(self)
        self.evaluations += 1
        return super().evaluate()


def check_masks(run: Trainer, step: int) -> None:
    """Check that the masks fit the network and have the target number of active weights.

    Args:
        run: Training to check.
        step: Training step, counted from 0.
    """
    shapes = {name: tuple(mask.shape) for name, mask in run.masks.items()}
    layers = layer_shapes(run.spec.model, run.spec.dataset)
    assert list(shapes.items()) == list(layers.items()), f"masks have shapes {shapes}, not {layers}"
    sparsifier, total = run.sparsifier, distributions.num_weights(layers)
    target = sparsifier.num_active_at(total, step, run.spec, run.timeline)
    actual = sum(int(mask.sum()) for mask in run.masks.values())
    assert abs(actual - target) <= sparsifier.count_tolerance(total, run.spec), (
        f"step {step}: masks must have {target} active weights (got {actual})."
    )


def check_zeros(run: Trainer) -> None:
    """Check that masked weights and their state of the optimizer are zero, but for trainable latent weights."""
    reached = run.masked_params.trainable if isinstance(run.masked_params, LatentParams) else run.masks
    for name, weight in maskable(run.model).items():
        assert not weight.detach()[~run.masks[name]].any(), f"{name}: a masked weight is not zero"
        if not isinstance(run.masked_params, DenseMomentumParams):
            for moment in run.masked_params.moments(weight).values():
                assert not moment[~reached[name]].any(), f"{name}: the momentum of a masked weight is not zero"


def train_and_check(spec: TrialSpec, samples: int = NUM_SAMPLES) -> CheckedTrainer:
    """Train ``spec`` to its end with checks around every step, and check the final masks.

    Args:
        spec: Trial to train.
        samples: Number of training images.
    """
    run = training(spec, CheckedTrainer, samples)
    assert isinstance(run, CheckedTrainer)
    for _ in range(spec.num_epochs):
        run.train_epoch()
    check_masks(run, run.timeline.steps)
    return run


def check_resume(spec: TrialSpec, after: int) -> None:
    """Check that a resumed training equals an uninterrupted one, bit for bit.

    Args:
        spec: Trial to train.
        after: Epochs before the interruption.
    """
    uninterrupted, interrupted = training(spec), training(spec)
    for _ in range(spec.num_epochs):
        uninterrupted.train_epoch()
    for _ in range(after):
        interrupted.train_epoch()
    resumed = training(spec)
    saved = tensor_file.loads(tensor_file.dumps(interrupted.state()))
    check_training(saved, resumed, spec.num_epochs)  # unknown state would count as a damaged file
    resumed.restore(saved)
    for _ in range(spec.num_epochs - after):
        resumed.train_epoch()
    check_same(comparable(resumed), comparable(uninterrupted))
    assert resumed.forward_flops == uninterrupted.forward_flops, "a resumed training counts other operations"


def comparable(run: Trainer) -> dict[str, object]:
    """Return the state of a training without its run times."""
    state = run.state()
    del state["train_seconds"]
    state["history"] = [{**epoch, "seconds": None} for epoch in state["history"]]
    return state


def check_same(left: object, right: object, path: str = "state") -> None:
    """Check that two values are equal in structure, type and every bit.

    Args:
        left: First value.
        right: Second value.
        path: Path of the values, for errors.
    """
    assert type(left) is type(right), path
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        assert left.dtype == right.dtype and left.shape == right.shape, path
        assert left.numpy().tobytes() == right.numpy().tobytes(), path
    elif isinstance(left, dict) and isinstance(right, dict):
        assert list(left) == list(right), path
        for key in left:
            check_same(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        assert len(left) == len(right), path
        for index, (first, second) in enumerate(zip(left, right, strict=True)):
            check_same(first, second, f"{path}.{index}")
    else:
        assert left == right, path


def check_own_randomness(spec: TrialSpec) -> None:
    """Check that two runs have the same masks when the global generators differ."""
    first = train_and_check(spec).masks_per_step
    torch.manual_seed(99), torch.rand(1000), np.random.seed(99), np.random.rand(1000)
    second = train_and_check(spec).masks_per_step
    assert all(left.equal(right) for left, right in zip(first, second, strict=True)), (
        "the masks differ between two runs"
    )


def check_shared_start(spec: TrialSpec) -> None:
    """Check that training starts from the dense network's initial weights or from the prerequisite."""
    run = training(spec)
    start = init_context(spec)
    parent_state = sparsifiers.cast(spec.sparsifier).parent_state(start)
    dense = build_model(spec.replace(sparsifier="dense", sparsity=0.0), tiny_data())
    expected = dict(dense.state_dict() if parent_state is None else parent_state)
    for layer, mask in run.masks.items():
        expected[layer] = torch.where(mask, expected[layer], torch.tensor(0.0))
    actual = run.model.state_dict()
    assert list(actual) == list(expected), "the network has other parameters"
    for key, value in actual.items():  # by value: a masked weight may be -0.0
        assert torch.equal(value, expected[key]), f"{key} differs from the initial state that the method declares"


def check_shared_batches(spec: TrialSpec) -> None:
    """Check that the batches are those of the dense arm of the comparison, to the pixel."""
    dense = train_and_check(spec.replace(sparsifier="dense", sparsity=0.0))
    skipped = (EPOCHS - spec.num_epochs) * len(dense.batches)
    check_same(train_and_check(spec).batches_per_step, dense.batches_per_step[skipped:], "batches")


def check_shortest(spec: TrialSpec, samples: int) -> None:
    """Check the target sparsity after the shortest training: one epoch of one or two batches.

    Args:
        spec: Trial to train.
        samples: Number of training images.
    """
    recipe = spec.recipe.model_copy(update={"epochs": 1})
    run = train_and_check(spec.replace(recipe=recipe), samples)
    actual, target = sum(run.masks.counts().values()), num_active(TOTAL, spec.sparsity)
    problem = f"one epoch of {samples} samples must end with {target} active weights (got {actual})."
    assert abs(actual - target) <= sparsifiers.cast(spec.sparsifier).count_tolerance(TOTAL, spec), problem


def check_registered(sparsifier: Sparsifier) -> None:
    """Check that a sweep file finds the class by its name."""
    names, cls = sparsifiers.names(), type(sparsifier)
    registered = sparsifiers[sparsifier.name] if sparsifier.name in names else None
    problem = f"{cls.__name__} is not registered as {sparsifier.name!r}. Add the decorator @sparsifiers.register."
    assert registered is cls, problem


def check_sparsifier(sparsifier: Sparsifier | Mapping[str, Any] | str, sparsity: float = 0.8) -> None:
    """Check all properties that a sweep needs: exact counts, zeros, resuming, own randomness, and fair comparisons.

    Args:
        sparsifier: Method to check: a value, its name, or its fields.
        sparsity: Target sparsity of the check.

    Raises:
        AssertionError: The method violates a property.
    """
    spec = tiny_trial(sparsifier, sparsity)
    check_registered(sparsifiers.cast(spec.sparsifier))
    train_and_check(spec)
    check_own_randomness(spec)
    for after in range(1, spec.num_epochs):
        check_resume(spec, after)
    check_shared_start(spec)
    check_shared_batches(spec)
    for samples in (2, 11):
        check_shortest(spec, samples)
