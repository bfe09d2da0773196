"""Contract of networks: logits, maskable layers that are all used, initial weights that depend only on the seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsweep.trainables.models import Model, maskable, models
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.training.execution import evaluate_in_float32
from sparsweep.trainables.training.flops import layer_flops
from support.contract_settings import MODEL_NAMES, MODELS, small

CLASSES = 7

each_model = pytest.mark.parametrize("name", MODEL_NAMES)


def parse_model(name: str) -> Model:
    return models.parse(small(MODELS, name))


def build_network(name: str, seed: int = 0) -> nn.Module:
    model = parse_model(name)
    module = model.build(CLASSES, ([0.5] * model.channels, [0.25] * model.channels))
    model.initialise(module, derive(seed, "weights"))
    return module


def images(name: str, count: int = 3) -> torch.Tensor:
    model = parse_model(name)
    shape = (count, model.channels, model.min_size, model.min_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@each_model
def test_logits_are_finite(name: str) -> None:
    logits = build_network(name).eval()(images(name))
    assert logits.shape == (3, CLASSES) and logits.isfinite().all()


@each_model
def test_network_normalizes_its_input(name: str) -> None:
    """The input space is [0, 1]. The first layer receives zeros for an image of the mean."""
    module = build_network(name).eval()
    seen: list[torch.Tensor] = []
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(torch.full_like(images(name), 0.5)), module(torch.full_like(images(name), 0.75))
    assert seen[0].abs().max() == 0 and (seen[1] == 1).all()


@each_model
def test_every_convolution_and_linear_layer_is_maskable_counted_and_trained(name: str) -> None:
    module = build_network(name)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    weights = maskable(module)
    assert [id(weight) for weight in weights.values()] == [id(layer.weight) for layer in layers]
    parameters = dict(module.named_parameters())
    assert all(parameters[key] is weight for key, weight in weights.items())
    flops = layer_flops(module, tuple(images(name).shape[1:]))
    assert list(flops) == list(weights) and min(flops.values()) > 0
    functional.cross_entropy(module(images(name)), torch.tensor([0, 1, 2])).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in weights.values())


@each_model
def test_last_maskable_layer_computes_the_logits(name: str) -> None:
    """Evaluation computes this layer in float32, whatever the precision of the recipe."""
    module = build_network(name).eval()
    evaluate_in_float32(module)
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(images(name))
    assert logits.dtype == torch.float32 and not torch.equal(logits, logits.bfloat16().float())


@each_model
def test_initial_weights_depend_only_on_the_seed(name: str) -> None:
    torch.manual_seed(1)
    first = build_network(name).state_dict()
    torch.manual_seed(2)
    again, other = build_network(name).state_dict(), build_network(name, seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    for key in maskable(build_network(name)):
        assert not torch.equal(first[key], other[key]), key


@each_model
def test_state_survives_storage(name: str) -> None:
    state = dict(build_network(name).state_dict())
    loaded = tensor_file.loads(tensor_file.dumps(state))
    fresh = build_network(name, seed=1)
    fresh.load_state_dict(loaded)
    assert all(torch.equal(state[key], value) for key, value in fresh.state_dict().items())
