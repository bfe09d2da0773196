"""Checks for a sparsifier of one's own: the promises that every method here keeps, on a tiny network in a second.

In a test of a package that brings a method::

    from sparsweep.trainables.testing import check_sparsifier

    def test_my_method() -> None:
        check_sparsifier(MyMethod(update_every=1))

Every check raises AssertionError. A method that changes its masks should be given arguments under which it does so at
the end of an epoch, of three steps: there the checks stop and resume. What a method needs of other trials stands in as
weights of another seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sparsweep.trainables.data.base import ImageData
from sparsweep.trainables.models import Model, maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.models.modules import Normalize
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.runs.soundness import check_training
from sparsweep.trainables.sparsifiers import InitContext, Masks, Sparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.base import StateDict, layer_shapes
from sparsweep.trainables.sparsifiers.masked_params import DenseMomentumParams, LatentParams
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.training.trainer import Trainer

EPOCHS = 4
NUM_SAMPLES = 24
BATCH_SIZE = 10  # three batches an epoch, the last of four


class TinyConvNet(Model):
    """A 3x3, a depthwise and a 1x1 convolution and a linear layer with bias. Not registered: no sweep may find it."""

    name: Literal["tiny"] = "tiny"
    channels = 1
    min_size = 6
    width: int = 8
    features: int = 12

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(
            Normalize(*statistics),
            nn.Conv2d(1, self.width, 3, padding=1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.width, 3, padding=1, groups=self.width),
            nn.ReLU(),
            nn.Conv2d(self.width, self.features, 1, bias=False),
            nn.BatchNorm2d(self.features),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.features, classes),
        )


LAYERS = {"1.weight": (8, 1, 3, 3), "4.weight": (8, 1, 3, 3), "6.weight": (12, 8, 1, 1), "11.weight": (10, 12)}
"""The maskable weights of :class:`TinyConvNet` as it is at ten classes, in order: 72 + 72 + 96 + 120 = 360 weights."""
TOTAL = sum(math.prod(shape) for shape in LAYERS.values())


@cache
def tiny_data() -> DeviceData:
    """24 training and 20 test images of 6x6 random grey pixels, ten classes."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (count, 1, 6, 6), dtype=np.uint8) for count in (NUM_SAMPLES, 20))
    labels = [random.integers(0, 10, count) for count in (NUM_SAMPLES, 20)]
    return to_device_data(ImageData(train, labels[0], test, labels[1], classes=10), 1, 6, torch.device("cpu"))


def first_samples(samples: int, device: str = "cpu") -> DeviceData:
    """:func:`tiny_data` with its first training images alone, on ``device``."""
    whole = tiny_data()
    images, labels = whole.train_images[:samples].to(device), whole.train_labels[:samples].to(device)
    return DeviceData(
        images, labels, whole.test_images.to(device), whole.test_labels.to(device), 10, whole.mean, whole.std
    )


def tiny_trial(
    sparsifier: Sparsifier | Mapping[str, Any] | str, sparsity: float = 0.8, seed: int = 0, **changes: Any
) -> TrialSpec:
    """A trial of four epochs on the tiny network and data."""
    recipe = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "crop_padding": 1, "lr": 0.05}
    fields = {"dataset": "digits", "model": TinyConvNet(), "recipe": recipe, "seed": seed}
    return TrialSpec(**{**fields, "sparsifier": sparsifier, "sparsity": sparsity, **changes})


def fake_parent_state(spec: RunSpec) -> StateDict:
    """Stands for the final state of a prerequisite: other weights than the initial ones, moved batch-norm buffers."""
    trial = spec.trained_trial
    assert trial is not None, "a prerequisite that leaves weights trains a network"
    model = build_model(trial.replace(seed=trial.seed + 1), tiny_data())
    generator = derive(trial.seed, "stand-in")
    state = dict(model.state_dict())
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
    return state


def training(spec: TrialSpec, kind: type[Trainer] = Trainer, samples: int = NUM_SAMPLES) -> Trainer:
    """A training of ``spec`` on the first ``samples`` tiny images, before its first step."""
    return kind(spec, first_samples(samples), torch.arange(samples), fake_parent_state)


def init_context(spec: TrialSpec) -> InitContext:
    """What the sparsifier of ``spec`` sees before training, at its starting state."""
    data, recipe = tiny_data(), spec.recipe
    samples = torch.arange(NUM_SAMPLES)
    batches = BatchIterator(
        data.train_images, data.train_labels, samples, recipe.batch_size, recipe.crop_padding, recipe.flip
    )
    model = build_model(spec, data)

    def batch(number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        return list(batches.iter_epoch(derive(spec.seed, "mask batch")))[number % len(batches)]

    begin = InitContext(spec, model, derive(spec.seed, "masks"), batch, fake_parent_state)
    state = sparsifiers.cast(spec.sparsifier).parent_state(begin)
    if state is not None:
        model.load_state_dict(state)
    return begin


# The promises --------------------------------------------------------------------------------------------------------


class CheckedTrainer(Trainer):
    """A training that checks its masks, weights and momenta around every step, and keeps what it saw.

    ``seen``: the masks of every step; ``heard``: its images, labels and random numbers.
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
    """The masks are masks of this network, and keep as many weights as they must at ``step``."""
    shapes = {name: tuple(mask.shape) for name, mask in run.masks.items()}
    layers = layer_shapes(run.spec.model, run.spec.dataset)
    assert list(shapes.items()) == list(layers.items()), f"masks of shapes {shapes}, not {layers}"
    sparsifier, total = run.sparsifier, distributions.num_weights(layers)
    asked = sparsifier.num_active_at(total, step, run.spec, run.timeline)
    found = sum(int(mask.sum()) for mask in run.masks.values())
    assert abs(found - asked) <= sparsifier.count_tolerance(total, run.spec), (
        f"step {step}: {found} weights, not {asked}"
    )


def check_zeros(run: Trainer) -> None:
    """Every masked weight is zero, and so is its momentum, unless the topology trains it out of sight."""
    reached = run.masked_params.trainable if isinstance(run.masked_params, LatentParams) else run.masks
    for name, weight in maskable(run.model).items():
        assert not weight.detach()[~run.masks[name]].any(), f"{name}: a masked weight is not zero"
        momentum = run.optimizer.state[weight].get("momentum_buffer")
        if momentum is not None and not isinstance(run.masked_params, DenseMomentumParams):
            assert not momentum[~reached[name]].any(), f"{name}: a masked momentum is not zero"


def train_and_check(spec: TrialSpec, samples: int = NUM_SAMPLES) -> CheckedTrainer:
    """Train ``spec`` to its end, with every check around every step; the masks keep what is asked at the end too."""
    run = training(spec, CheckedTrainer, samples)
    assert isinstance(run, CheckedTrainer)
    for _ in range(spec.num_epochs):
        run.train_epoch()
    check_masks(run, run.timeline.steps)
    return run


def check_resume(spec: TrialSpec, after: int) -> None:
    """Stopped after some epochs, saved, loaded and trained on: bit for bit as if it had never stopped."""
    whole, begun = training(spec), training(spec)
    for _ in range(spec.num_epochs):
        whole.train_epoch()
    for _ in range(after):
        begun.train_epoch()
    resumed = training(spec)
    saved = tensor_file.loads(tensor_file.dumps(begun.state()))
    check_training(saved, resumed, spec.num_epochs)  # a state that it does not know would be taken for a damaged file
    resumed.restore(saved)
    for _ in range(spec.num_epochs - after):
        resumed.train_epoch()
    check_same(comparable(resumed), comparable(whole))
    assert resumed.forward_flops == whole.forward_flops, "operations are counted otherwise after a resume"


def comparable(run: Trainer) -> dict[str, object]:
    """The state of a run without the times it took."""
    state = run.state()
    del state["train_seconds"]
    state["history"] = [{**epoch, "seconds": None} for epoch in state["history"]]
    return state


def check_same(left: object, right: object, path: str = "state") -> None:
    """Equal in structure, type and every bit."""
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
        for place_, (one, other) in enumerate(zip(left, right, strict=True)):
            check_same(one, other, f"{path}.{place_}")
    else:
        assert left == right, path


def check_own_randomness(spec: TrialSpec) -> None:
    """The same masks twice, whatever is drawn from the global generators between."""
    first = train_and_check(spec).masks_per_step
    torch.manual_seed(99), torch.rand(1000), np.random.seed(99), np.random.rand(1000)
    again = train_and_check(spec).masks_per_step
    assert all(one.equal(other) for one, other in zip(first, again, strict=True)), "the masks differ between two runs"


def check_shared_start(spec: TrialSpec) -> None:
    """It starts from the dense network's initial weights, or from the prerequisite that it names."""
    run = training(spec)
    begin = init_context(spec)
    final = sparsifiers.cast(spec.sparsifier).parent_state(begin)
    dense = build_model(spec.replace(sparsifier="dense", sparsity=0.0), tiny_data())
    expected = dict(dense.state_dict() if final is None else final)
    for layer, mask in run.masks.items():
        expected[layer] = torch.where(mask, expected[layer], torch.tensor(0.0))
    found = run.model.state_dict()
    assert list(found) == list(expected), "another network"
    for key, value in found.items():  # by value: a masked weight may be -0.0
        assert torch.equal(value, expected[key]), f"{key} is not as the method says it starts"


def check_shared_batches(spec: TrialSpec) -> None:
    """It sees the same batches as the dense arm of the comparison, to the pixel."""
    dense = train_and_check(spec.replace(sparsifier="dense", sparsity=0.0))
    skipped = (EPOCHS - spec.num_epochs) * len(dense.batches)
    check_same(train_and_check(spec).batches_per_step, dense.batches_per_step[skipped:], "batches")


def check_shortest(spec: TrialSpec, samples: int) -> None:
    """One epoch of a batch or two is the shortest training there is; it ends at the asked sparsity too."""
    recipe = spec.recipe.model_copy(update={"epochs": 1})
    run = train_and_check(spec.replace(recipe=recipe), samples)
    found, asked = sum(run.masks.counts().values()), num_active(TOTAL, spec.sparsity)
    why = f"an epoch of {samples} samples ends with {found} weights, not {asked}"
    assert abs(found - asked) <= sparsifiers.cast(spec.sparsifier).count_tolerance(TOTAL, spec), why


def check_registered(sparsifier: Sparsifier) -> None:
    """A sweep file finds the class under its name."""
    known, cls = sparsifiers.names(), type(sparsifier)
    found = sparsifiers[sparsifier.name] if sparsifier.name in known else None
    assert found is cls, f"{cls.__name__} is not registered as {sparsifier.name!r}: put @sparsifiers.register before it"


def check_sparsifier(sparsifier: Sparsifier | Mapping[str, Any] | str, sparsity: float = 0.8) -> None:
    """Everything that a sweep relies on: exact counts, zeros, resuming, randomness of its own, and fair comparisons."""
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
