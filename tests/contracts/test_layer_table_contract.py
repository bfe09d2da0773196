"""The layers that a network states without being built: those of the module, and of PyTorch's own counter."""

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
    """The network in all its forms, on images of several sizes and forms."""
    cls = models[name]
    fields: dict[str, list[Any]] = {"width": [0.1, 0.25]} if "width" in cls.model_fields else {}
    if "stem" in cls.model_fields:
        fields["stem"] = ["3x3", "7x7"]
    forms = [models.parse({"name": name, **dict(zip(fields, form, strict=True))}) for form in product(*fields.values())]
    sizes = [(max(64, cls.min_size),) * 2, (cls.min_size, cls.min_size), (cls.min_size + 3, cls.min_size + 9)]
    return [(form, (cls.channels, *size)) for form in forms for size in sizes]


@each_model
def test_stated_layers_are_those_of_the_module(name: str) -> None:
    for model, shape in settings(name):
        assert model.layers(7, shape) == built_layers(model, 7, shape), (model, shape)


@each_model
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    model = models.parse(small(MODELS, name))
    shape = (model.channels, model.min_size, model.min_size)
    module = model.build(7, ([0.0] * model.channels, [1.0] * model.channels)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    assert sum(layer.flops for layer in model.layers(7, shape)) == counter.get_total_flops()


@each_model
def test_they_are_stated_without_pytorch(name: str) -> None:
    """However large the network: nothing of it is built."""
    code = (
        "import sys; from sparsweep.trainables.models import models; model = models[sys.argv[1]](); "
        "print(len(model.layers(1000, (model.channels, 224, 224)))); assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 5
