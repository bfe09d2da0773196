"""Deferred import of PyTorch. A process without PyTorch gets shapes and FLOPs of networks from a helper process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as real

from sparsweep.trainables.data import datasets
from sparsweep.trainables.lazy import Deferred, functional, no_grad
from sparsweep.trainables.lazy import torch as deferred
from sparsweep.trainables.models import models
from sparsweep.trainables.sparsifiers.base import layer_shapes
from sparsweep.trainables.training.flops import dense_flops

ROOT = Path(__file__).parents[2]


def in_a_new_process(code: str) -> str:
    """Return the output of ``code`` in a new process, which has not imported PyTorch."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_a_deferred_module_returns_the_attributes_of_the_module() -> None:
    assert deferred.Tensor is torch.Tensor and deferred.cuda is torch.cuda
    assert functional.cross_entropy is real.cross_entropy
    with pytest.raises(AttributeError, match="module 'torch' has no attribute 'tenser'"):
        deferred.tenser  # noqa: B018


def test_a_module_is_imported_at_its_first_use() -> None:
    code = """
import sys
from sparsweep.trainables.lazy import Deferred
colors = Deferred("colorsys")
assert "colorsys" not in sys.modules
print(colors.rgb_to_hsv(1, 1, 1), "colorsys" in sys.modules, "rgb_to_hsv" in vars(colors))
"""
    assert in_a_new_process(code) == "(0.0, 0.0, 1) True True"
    assert Deferred("colorsys").__doc__ is None  # an attribute of every object imports nothing


def test_no_grad_disables_gradients_and_keeps_name_and_docstring() -> None:
    @no_grad
    def double(value: torch.Tensor) -> torch.Tensor:
        """Twice."""
        return 2 * value

    value_with_grad = torch.ones(1, requires_grad=True)
    assert not double(value_with_grad).requires_grad and torch.is_grad_enabled()
    assert (double.__name__, double.__doc__) == ("double", "Twice.")


def test_shapes_and_flops_are_the_same_without_pytorch() -> None:
    code = """
import sys
from sparsweep.trainables.data import datasets
from sparsweep.trainables.training.flops import dense_flops
from sparsweep.trainables.models import models
from sparsweep.trainables.sparsifiers.base import layer_shapes
assert "torch" not in sys.modules
for model, data in (("resnet8", "digits"), ("vgg19", "cifar100")):
    pair = models.parse(model), datasets.parse(data)
    print(dense_flops(*pair), layer_shapes(*pair))
assert "torch" not in sys.modules
"""
    pairs = [("resnet8", "digits"), ("vgg19", "cifar100")]
    parsed = [(models.parse(model), datasets.parse(data)) for model, data in pairs]
    assert in_a_new_process(code).splitlines() == [f"{dense_flops(*pair)} {layer_shapes(*pair)}" for pair in parsed]
