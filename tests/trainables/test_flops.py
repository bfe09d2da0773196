"""FLOPs and parameter counts: layers by hand, and a training with a static mask in closed form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparsweep.trainables.models import maskable, models
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.training.flops import PASSES, forward_flops, layer_flops
from support.tiny_trials import create_trainer, trial


def test_resnet8_by_hand() -> None:
    """3x3: 9 (16 + 2 16^2 + 16 32 + 32^2 + 32 64 + 64^2). 1x1: 16 32 + 32 64. Classifier: 64 10."""
    module = models["resnet8"]().build(10, ([0.5], [0.25]))
    assert sum(weight.numel() for weight in maskable(module).values()) == 9 * 8208 + 2560 + 640 == 77_072
    assert "77,072" in models["resnet8"].summary()


def test_layers_by_hand() -> None:
    """2 operations x outputs x weights per output, for 3x3, depthwise, strided 1x1 and linear layers."""
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 6, 1, stride=2),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    expected = {
        "0.weight": 2 * (4 * 4 * 4) * (2 * 9),
        "2.weight": 2 * (4 * 4 * 4) * 9,
        "3.weight": 2 * (6 * 2 * 2) * 4,
        "5.weight": 2 * 5 * 24,
    }
    before = copy.deepcopy(module.state_dict())
    module.train()
    assert layer_flops(module, (2, 4, 4)) == expected
    assert module.training and all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_forward_flops_weight_layers_by_density() -> None:
    assert forward_flops({"a": 100, "b": 10}, {"a": 0.25, "b": 1.0}) == 35


def test_a_step_costs_three_forward_passes() -> None:
    assert PASSES == 3


@pytest.mark.parametrize("name", ["random", "uniform", "snip"])
def test_training_with_a_static_mask_in_closed_form(name: str, digits: DeviceData) -> None:
    """3 x sum of layer operations x density x samples x epochs, plus the cost of choosing the mask."""
    run = create_trainer(trial(sparsifier=name, sparsity=0.7), digits, samples=50)
    before = run.train_flops
    flops = {layer: run.layer_flops[layer] * int(mask.sum()) / mask.numel() for layer, mask in run.masks.items()}
    assert run.forward_flops == pytest.approx(sum(flops.values()), rel=1e-12)
    for _ in range(2):
        run.train_epoch()
    assert run.train_flops - before == pytest.approx(3 * sum(flops.values()) * 50 * 2, rel=1e-12)
    assert (before > 0) == (name == "snip")


def test_training_with_pruning_is_counted_at_the_density_of_each_step(digits: DeviceData) -> None:
    """Two epochs of two batches, 32 and 18 samples. Half of the weights are pruned before the third step."""
    method = {"name": "gmp", "update_every": 1, "start_fraction": 0.5, "stop_fraction": 0.5}
    run = create_trainer(trial(sparsifier=method, sparsity=0.5), digits, samples=50)
    dense = run.forward_flops
    assert dense == sum(run.layer_flops.values())
    for _ in range(2):
        run.train_epoch()
    assert run.forward_flops < dense
    assert run.train_flops == pytest.approx(3 * 50 * (dense + run.forward_flops), rel=1e-12)
