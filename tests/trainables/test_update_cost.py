"""What an update asks of the device: operations in proportion to layers, and a handful of waits, however many layers.

Counted, not timed. Of two networks of the same kind, of 21 and of 37 layers with masks, the difference is what a layer
costs. Masks are chosen in the way of a GPU: on a CPU nobody waits for a device.
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
from support.tiny_trials import begin, trial

METHODS = ["bayesian_connectivity", "dsr", "gmp", "itop", "mest", "movement", "rigl", "set", "snfs", "topkast"]
MOST_OPERATIONS_A_LAYER = 75
MOST_WAITS = {"bayesian_connectivity": 5, "dsr": 3, "gmp": 3, "movement": 3, "snfs": 4, "topkast": 5}
"""Above two, the counts of the new masks: once to check them, once to keep them."""


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "top_k_by_threshold", masks.top_k_by_sort)


class Chain(ResidualModel):
    """A residual network of 21 or 37 layers with masks, very narrow. Not registered: no sweep may find it."""

    name: Literal["chain"] = "chain"
    channels = 1
    min_size = 8
    long: bool
    widths = (4, 8, 12, 16)

    @property
    def blocks(self) -> tuple[int, ...]:  # type: ignore[override]
        return (3, 4, 6, 3) if self.long else (2, 2, 2, 2)


class Operations(TorchDispatchMode):
    """Counts the operations that reach the device: ``count`` calls, on ``elements`` numbers.

    An element of what comes out is one, in a sort of n it is log2 n.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.elements = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        found = function(*args, **(kwargs or {}))
        each = math.log2(max(2, args[0].numel())) if "sort" in str(function) else 1.0
        self.elements += each * sum(part.numel() for part in tree_leaves(found) if isinstance(part, torch.Tensor))
        return found


class Waits(TorchFunctionMode):
    """Counts the calls for which the host must have a tensor's values."""

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


def begun(name: str, long: bool) -> Trainer:
    """After one step, so that there are momenta; dense gradients are told, so that only the update is counted."""
    recipe = {"epochs": 10, "batch_size": 8, "crop_padding": 0}
    run = begin(trial(model=Chain(long=long), sparsifier=name, sparsity=0.8, recipe=recipe), images())
    run.train_epoch()
    return run


def moment_of(run: Trainer) -> Any:
    """Half way, where every method has something to do."""
    batch = images().train_images.float() / 255, images().train_labels
    seen = run._update_context(5, batch, torch.empty(0))
    gradients = {name: torch.ones_like(weight) for name, weight in run.weights.items()}
    return type(seen)(**{**vars(seen), "dense_gradients": lambda: gradients})


def counted(name: str, long: bool) -> Operations:
    run = begun(name, long)
    seen = moment_of(run)
    with Operations() as found:
        run._update_masks(seen)
    return found


def operations(name: str, long: bool) -> int:
    return counted(name, long).count


def waits(name: str, long: bool) -> Counter[str]:
    run = begun(name, long)
    seen = moment_of(run)
    with Waits() as counted:
        run._update_masks(seen)
    return counted.counts


@pytest.mark.parametrize("name", METHODS)
def test_operations_are_in_proportion_to_layers(name: str) -> None:
    short, long = operations(name, long=False), operations(name, long=True)
    a_layer = (long - short) / (37 - 21)
    assert a_layer <= MOST_OPERATIONS_A_LAYER
    assert long <= (a_layer + 1) * 37 + 60, "what is not in proportion to layers is little"


RESNET18 = 11_210_432, 555_468_800
"""Maskable weights and multiply-adds of an image: the paper's network at 100 classes."""
ERK_80 = 0.504
"""Share of those multiply-adds that is left at sparsity .8 with ERK densities."""


@pytest.mark.parametrize("name", METHODS)
def test_an_update_is_less_than_a_hundredth_of_the_training_between_two(name: str) -> None:
    """Its operations on a weight of the small network, for the weights of ResNet18, with steps of 128 images.

    Every method at its own interval, on 50,000 images. A dense gradient is not in it: that is training's own work
    and counted there (for RigL (f_D + 2 f_S) / 98 of the 3 f_S of a step).
    """
    run = begun(name, long=True)
    weights, macs = RESNET18
    update = counted(name, long=True).elements / run.masks.size * weights
    step = 128 * 3 * 2 * macs * ERK_80
    steps = sorted(sparsifiers.parse(name).update_steps(TrainingSteps(200, 391)))
    assert update < 0.01 * step * (steps[1] - steps[0])


@pytest.mark.parametrize("name", METHODS)
def test_the_host_waits_a_handful_of_times(name: str) -> None:
    short, long = waits(name, long=False), waits(name, long=True)
    assert 2 <= short.total() == long.total() <= MOST_WAITS.get(name, 2), (short, long)


def test_a_wait_would_be_seen() -> None:
    """So that the test above can fail."""
    tensor = torch.ones(2)
    with Waits() as counted:
        tensor.tolist(), int(tensor.sum()), bool(tensor[0]), tensor[0].item()
    assert counted.counts.total() == 4
