"""Contract of layer tables: layers declared without building the network equal those of the module and of PyTorch."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sparsweep.trainables.models import Model, models
from sparsweep.trainables.models.measured import built_layers
from support.contract_settings import MODEL_NAMES, MODELS, small

each_model = pytest.mark.parametrize("name", MODEL_NAMES)


def settings(name: str) -> list[tuple[Model, tuple[int, int, int]]]:
    """Return all variants of the network, with images of several sizes and aspect ratios."""
    cls = models[name]
    fields: dict[str, list[Any]] = {"width": [0.1, 0.25]} if "width" in cls.model_fields else {}
    if "stem" in cls.model_fields:
        fields["stem"] = ["3x3", "7x7"]
    variants = [
        models.parse({"name": name, **dict(zip(fields, variant, strict=True))}) for variant in product(*fields.values())
    ]
    sizes = [(max(64, cls.min_size),) * 2, (cls.min_size, cls.min_size), (cls.min_size + 3, cls.min_size + 9)]
    return [(variant, (cls.channels, *size)) for variant in variants for size in sizes]


@each_model
def test_declared_layers_equal_those_of_the_module(name: str) -> None:
    for model, shape in settings(name):
        assert model.layers(7, shape) == built_layers(model, 7, shape), (model, shape)


@each_model
def test_flops_equal_those_counted_by_pytorch(name: str) -> None:
    model = models.parse(small(MODELS, name))
    shape = (model.channels, model.min_size, model.min_size)
    module = model.build(7, ([0.0] * model.channels, [1.0] * model.channels)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    assert sum(layer.flops for layer in model.layers(7, shape)) == counter.get_total_flops()


@each_model
def test_layers_are_declared_without_importing_pytorch(name: str) -> None:
    """The network is not built, whatever its size."""
    code = (
        "import sys; from sparsweep.trainables.models import models; model = models[sys.argv[1]](); "
        "print(len(model.layers(1000, (model.channels, 224, 224)))); assert 'torch' not in sys.modules"
    )
    completed = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
    assert int(completed.stdout) > 5
