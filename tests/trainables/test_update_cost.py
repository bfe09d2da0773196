"""Cost of a mask update: operations in proportion to the layers, and a constant number of host synchronizations.

The tests count operations and do not measure time. Two networks of the same kind have 21 and 37 masked layers. Their
difference gives the cost per layer. Masks are selected with the algorithm for GPUs.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any, Literal

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsweep.trainables.models.resnet import ResidualModel
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import masks, sparsifiers
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import create_trainer, trial

METHODS = ["bayesian_connectivity", "dsr", "gmp", "itop", "mest", "movement", "rigl", "set", "snfs", "topkast"]
MAX_OPERATIONS_PER_LAYER = 75
MAX_SYNCS = {"bayesian_connectivity": 5, "dsr": 3, "gmp": 3, "movement": 3, "snfs": 4, "topkast": 5}
"""Methods with more than two synchronizations. Two are common: reading mask counts for the check and for storing."""


@pytest.fixture(autouse=True)
def gpu_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "top_k_by_threshold", masks.top_k_by_sort)


class Chain(ResidualModel):
    """Very narrow residual network with 21 or 37 masked layers. It is not registered, so that no sweep can use it."""

    name: Literal["chain"] = "chain"
    channels = 1
    min_size = 8
    long: bool
    widths = (4, 8, 12, 16)

    @property
    def blocks(self) -> tuple[int, ...]:  # type: ignore[override]
        return (3, 4, 6, 3) if self.long else (2, 2, 2, 2)


class Operations(TorchDispatchMode):
    """Count the operations that reach the device: ``count`` calls on ``elements`` numbers.

    Each element of an output counts 1, or log2 n for a sort of n elements.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.elements = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        output = function(*args, **(kwargs or {}))
        each = math.log2(max(2, args[0].numel())) if "sort" in str(function) else 1.0
        self.elements += each * sum(part.numel() for part in tree_leaves(output) if isinstance(part, torch.Tensor))
        return output


class Synchronizations(TorchFunctionMode):
    """Count the calls for which the host reads the values of a tensor."""

    READING = ("tolist", "item", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in self.READING:
            self.counts[function.__name__] += 1
        return function(*args, **(kwargs or {}))


@cache
def images() -> DeviceData:
    pixels = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(8) % 10
    return DeviceData(pixels, labels, pixels, labels, 10, (0.5,), (0.25,))


def start(name: str, long: bool) -> Trainer:
    """Return a trainer after one step, so that momenta exist."""
    recipe = {"epochs": 10, "batch_size": 8, "crop_padding": 0}
    run = create_trainer(trial(model=Chain(long=long), sparsifier=name, sparsity=0.8, recipe=recipe), images())
    run.train_epoch()
    return run


def middle_context(run: Trainer) -> Any:
    """Return the inputs of an update at half of training, where every method changes masks.

    Dense gradients are given, so that only the update is counted.
    """
    batch = images().train_images.float() / 255, images().train_labels
    context = run._update_context(5, batch, torch.empty(0))
    gradients = {name: torch.ones_like(weight) for name, weight in run.weights.items()}
    return type(context)(**{**vars(context), "dense_gradients": lambda: gradients})


def count_operations(name: str, long: bool) -> Operations:
    run = start(name, long)
    context = middle_context(run)
    with Operations() as operations:
        run._update_masks(context)
    return operations


def count_syncs(name: str, long: bool) -> Counter[str]:
    run = start(name, long)
    context = middle_context(run)
    with Synchronizations() as syncs:
        run._update_masks(context)
    return syncs.counts


@pytest.mark.parametrize("name", METHODS)
def test_operations_are_proportional_to_the_number_of_layers(name: str) -> None:
    short, long = (count_operations(name, long=long).count for long in (False, True))
    per_layer = (long - short) / (37 - 21)
    assert per_layer <= MAX_OPERATIONS_PER_LAYER
    assert long <= (per_layer + 1) * 37 + 60, "the constant part must be small"


RESNET18 = 11_210_432, 555_468_800
"""Maskable weights and multiply-adds per image: the paper's network with 100 classes."""
ERK_80 = 0.504
"""Remaining share of these multiply-adds at sparsity 0.8 with ERK densities."""


@pytest.mark.parametrize("name", METHODS)
def test_update_costs_less_than_one_percent_of_the_training_between_updates(name: str) -> None:
    """Operations per weight of the small network, scaled to ResNet18, compared with steps of 128 images.

    Each method has its default interval, on 50,000 images. Dense gradients are excluded because training counts them
    (for RigL (f_D + 2 f_S) / 98, compared with 3 f_S per step).
    """
    run = start(name, long=True)
    weights, macs = RESNET18
    update = count_operations(name, long=True).elements / run.masks.size * weights
    step = 128 * 3 * 2 * macs * ERK_80
    steps = sorted(sparsifiers.parse(name).update_steps(TrainingSteps(200, 391)))
    assert update < 0.01 * step * (steps[1] - steps[0])


@pytest.mark.parametrize("name", METHODS)
def test_number_of_synchronizations_does_not_depend_on_the_number_of_layers(name: str) -> None:
    short, long = count_syncs(name, long=False), count_syncs(name, long=True)
    assert 2 <= short.total() == long.total() <= MAX_SYNCS.get(name, 2), (short, long)


def test_synchronizations_are_counted() -> None:
    """The test above relies on these counts."""
    tensor = torch.ones(2)
    with Synchronizations() as syncs:
        tensor.tolist(), int(tensor.sum()), bool(tensor[0]), tensor[0].item()
    assert syncs.counts.total() == 4
