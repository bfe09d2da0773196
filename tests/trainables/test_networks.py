"""The paper's networks: all numbers of its table, the initial weights, and validation errors."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsweep.trainables.models import maskable, models
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.flops import dense_flops, forward_flops, layer_flops

# Name, stem, classes, pixels: parameters, maskable weights, maskable tensors, forward multiply-adds per image.
TABLE = {
    ("resnet18", "3x3", 100, 32): (11_220_032, 11_210_432, 21, 555_468_800),
    ("resnet18", "3x3", 10, 32): (11_173_952, 11_164_352, 21, 555_422_720),
    ("resnet34", "3x3", 100, 32): (21_328_192, 21_311_168, 37, 1_159_448_576),
    ("resnet34", "7x7", 200, 64): (21_387_072, 21_370_048, 37, 1_167_364_096),
    ("vgg16", None, 10, 32): (15_255_626, 15_239_872, 16, 313_725_952),
    ("vgg16", None, 100, 32): (15_301_796, 15_285_952, 16, 313_772_032),
    ("vgg19", None, 100, 32): (20_081_188, 20_070_080, 17, 398_182_400),
}

# Forward multiply-adds of a sparse network with ERK densities, relative to the dense network. Sparsity 0.1 to 0.9.
ERK_RATIOS = {
    ("resnet18", "3x3", 100, 32): (0.968, 0.935, 0.903, 0.855, 0.795, 0.732, 0.629, 0.504, 0.239),
    ("resnet34", "7x7", 200, 64): (0.971, 0.941, 0.908, 0.836, 0.764, 0.690, 0.568, 0.435, 0.213),
    ("vgg16", None, 10, 32): (0.957, 0.915, 0.870, 0.823, 0.739, 0.651, 0.543, 0.398, 0.202),
    ("vgg19", None, 100, 32): (0.954, 0.908, 0.861, 0.811, 0.730, 0.636, 0.534, 0.403, 0.218),
}


@cache
def build_network(name: str, stem: str | None, classes: int, pixels: int) -> tuple[nn.Module, dict[str, int]]:
    """Return the network and its FLOPs by layer."""
    fields = {"stem": stem} if stem else {}
    module = models.parse({"name": name, **fields}).build(classes, ([0.5] * 3, [0.25] * 3))
    return module, layer_flops(module, (3, pixels, pixels))


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_counts_equal_the_papers_table(case: tuple[Any, ...]) -> None:
    module, flops = build_network(*case)
    weights = maskable(module)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    masked = sum(weight.numel() for weight in weights.values())
    assert (parameters, masked, len(weights), sum(flops.values()) / 2) == TABLE[case]


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_flops_equal_those_counted_by_torch(case: tuple[Any, ...]) -> None:
    module, flops = build_network(*case)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copy.deepcopy(module).to("meta").eval()(torch.empty(1, 3, case[3], case[3], device="meta"))
    assert sum(flops.values()) == counter.get_total_flops()


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "vgg16", "vgg19"])
def test_summary_states_the_number_of_maskable_weights(name: str) -> None:
    masked = {row[1] for case, row in TABLE.items() if case[0] == name}
    assert any(f"{count:,}" in models[name].summary() for count in masked)


@pytest.mark.parametrize("case", ERK_RATIOS, ids=str)
def test_erk_flops_ratios_equal_the_papers(case: tuple[Any, ...]) -> None:
    module, flops = build_network(*case)
    shapes = {name: tuple(weight.shape) for name, weight in maskable(module).items()}
    dense = sum(flops.values())
    computed = [forward_flops(flops, distributions.erk(shapes, 1 - tenths / 10)) / dense for tenths in range(1, 10)]
    assert computed == pytest.approx(ERK_RATIOS[case], abs=0.001)


def test_erk_densities_of_vgg19_equal_the_papers() -> None:
    """At sparsity 0.8, the first three convolutions and the classifier are dense."""
    module, _ = build_network("vgg19", None, 100, 32)
    shapes = {name: tuple(weight.shape) for name, weight in maskable(module).items()}
    computed = list(distributions.erk(shapes, 0.2).values())
    expected = [1, 1, 1, 0.671, 0.500, 0.332, 0.332, 0.332, 0.248, *[0.165] * 7, 1]
    assert computed == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(("name", "pixels"), [("resnet18", 64), ("resnet34", 48), ("vgg16", 64), ("vgg19", 40)])
def test_larger_images_work(name: str, pixels: int) -> None:
    module = models.parse({"name": name, "width": 0.0625}).build(7, ([0.5] * 3, [0.25] * 3)).eval()
    assert module(torch.rand(2, 3, pixels, pixels)).shape == (2, 7)


def test_small_stem_on_large_images_costs_four_times_the_flops() -> None:
    """Every layer except the stem and the classifier has four times as many pixels."""
    small, large = (build_network("resnet34", stem, 200, 64)[1] for stem in ("7x7", "3x3"))
    for name in small.keys() - {"conv1.weight", "linear.weight"}:
        assert large[name] == 4 * small[name]


@pytest.mark.parametrize("name", ["resnet8", "resnet8_rgb", "resnet18", "resnet34", "vgg16", "vgg19"])
def test_half_width_halves_the_channels(name: str) -> None:
    channels = models[name].channels
    full, half = (
        models.parse({"name": name, "width": width}).build(10, ([0.5] * channels, [0.25] * channels))
        for width in (1, 0.5)
    )
    for one, other in zip(maskable(full).values(), maskable(half).values(), strict=True):
        assert one.shape[0] in {2 * other.shape[0], 10}


# Initial weights -----------------------------------------------------------------------------------------------------


@cache
def initial(name: str) -> nn.Module:
    model = models[name]()
    module = model.build(100, ([0.5] * 3, [0.25] * 3))
    for parameter in module.parameters():
        parameter.data.fill_(7)  # a parameter that is not initialized keeps this value
    model.initialise(module, derive(0, "weights"))
    return module


def layers(module: nn.Module, kind: type) -> list[Any]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "vgg16", "vgg19"])
def test_batch_norms_start_as_the_identity(name: str) -> None:
    for norm in layers(initial(name), nn.BatchNorm2d) + layers(initial(name), nn.BatchNorm1d):
        assert (norm.weight == 1).all() and not norm.bias.any()
        assert (norm.running_var == 1).all() and not norm.running_mean.any()


@pytest.mark.parametrize(("name", "fan"), [("resnet18", "in"), ("resnet34", "in"), ("vgg19", "out")])
def test_convolutions_are_kaiming_normal(name: str, fan: str) -> None:
    """The standard deviation is sqrt(2 / fan). As many weights exceed it as in a normal distribution."""
    for layer in layers(initial(name), nn.Conv2d):
        weight = layer.weight.detach()
        count = weight[0].numel() if fan == "in" else weight[:, 0].numel()
        expected = math.sqrt(2 / count)
        assert weight.std().item() == pytest.approx(expected, rel=6 / math.sqrt(2 * weight.numel()))
        beyond = (weight.abs() > expected).double().mean().item()
        assert beyond == pytest.approx(0.3173, abs=6 * 0.466 / math.sqrt(weight.numel()))


def test_vgg19_classifier_is_normal_with_small_deviation_and_zero_bias() -> None:
    (layer,) = layers(initial("vgg19"), nn.Linear)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02) and not layer.bias.any()
    assert layer.weight.abs().max() > 0.03


@pytest.mark.parametrize(("name", "kind"), [("vgg16", nn.Conv2d), ("vgg16", nn.Linear), ("resnet18", nn.Linear)])
def test_default_initialization_of_pytorch_is_uniform(name: str, kind: type) -> None:
    """Weights and biases lie within +-1 / sqrt(fan in), with the standard deviation of a uniform distribution."""
    for layer in layers(initial(name), kind):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(
            bound / math.sqrt(3), rel=6 / math.sqrt(2 * layer.weight.numel())
        )
        if layer.bias is not None:
            assert 0 < layer.bias.abs().max() <= bound


# Validation errors ---------------------------------------------------------------------------------------------------


def validation_error(**fields: Any) -> str:
    with pytest.raises(ValidationError) as error:
        TrialSpec(**{"dataset": "cifar100", "model": "vgg16", "sparsifier": "dense", **fields})
    return format_error(error.value)


@pytest.mark.parametrize(("dataset", "pixels"), [("cifar10", 32), ("digits", 32)])
def test_large_stem_needs_large_images(dataset: str, pixels: int) -> None:
    """The digits have 8 pixels. They are enlarged to the 32 pixels that the network needs."""
    message = validation_error(dataset=dataset, model={"name": "resnet34", "stem": "7x7"})
    assert message == (f"model.stem: 7x7 needs images of 64 pixels or more, those of {dataset} have {pixels}. Use 3x3.")


def test_stem_changes_the_trial_id() -> None:
    ids = {
        TrialSpec(dataset="tinyimagenet", model={"name": "resnet34", "stem": stem}, sparsifier="dense").id
        for stem in ("3x3", "7x7")
    }
    assert len(ids) == 2


def test_dense_flops_of_resnet34_on_tinyimagenet_equal_the_papers() -> None:
    trial = TrialSpec(dataset="tinyimagenet", model={"name": "resnet34", "stem": "7x7"}, sparsifier="dense")
    assert dense_flops(trial.model, trial.dataset) == 2 * 1_167_364_096


def test_vgg16_cannot_train_on_one_image() -> None:
    """Reason for ``min_batch``. If a later PyTorch allows one image, the validation error below can be removed."""
    model = models.parse({"name": "vgg16", "width": 0.0625})
    module = model.build(10, ([0.5] * 3, [0.25] * 3)).train()
    assert model.min_batch == 2
    module(torch.rand(2, 3, 32, 32))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        module(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("name", sorted(set(models.names()) - {"vgg16"}))
def test_other_networks_train_on_one_image(name: str) -> None:
    model = models[name]()
    module = model.build(10, ([0.5] * model.channels, [0.25] * model.channels)).train()
    assert model.min_batch == 1
    module(torch.rand(1, model.channels, model.min_size, model.min_size))


def test_last_batch_of_one_image_is_an_error_that_names_the_fixes() -> None:
    assert validation_error(recipe={"batch_size": 49_999}) == (
        "recipe.batch_size: the last batch has 1 of 50000 training samples, vgg16 needs at least 2 (got 49999). "
        "Change recipe.batch_size or data_ratio, or set recipe.drop_last: true."
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"recipe": {"batch_size": 49_998}},
        {"recipe": {"batch_size": 49_999}, "data_ratio": 0.5},
        {"recipe": {"batch_size": 49_999, "drop_last": True}},
        {"recipe": {"batch_size": 49_999}, "model": "resnet18"},
    ],
    ids=str,
)
def test_each_suggested_fix_is_valid(fields: dict[str, Any]) -> None:
    TrialSpec(**{"dataset": "cifar100", "model": "vgg16", "sparsifier": "dense", **fields})


def test_scoring_run_with_a_last_batch_of_one_image_is_an_error() -> None:
    """The trial's 25,000 samples fit into one batch. The scoring run trains on all 50,000 samples."""
    message = validation_error(recipe={"batch_size": 49_999}, difficulty="el2n", data_ratio=0.5)
    assert "recipe.batch_size: the last batch has 1 of 50000 training samples" in message


def test_dropping_the_only_batch_is_an_error() -> None:
    message = validation_error(model="resnet18", recipe={"batch_size": 128, "drop_last": True}, data_ratio=0.002)
    assert message == (
        "recipe.drop_last: true leaves no batch: 100 training samples, batches of 128. "
        "Reduce recipe.batch_size, or set recipe.drop_last: false."
    )
