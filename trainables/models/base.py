"""What a network is: a description that builds a module, and the part of it that can be masked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainables.deferred import nn, torch
from trainables.models.initialisation import draw, kaiming_fan_in, torch_default
from trainables.values import Named, Registry

if TYPE_CHECKING:
    from trainables.spec import TrialSpec


class Model(Named):
    """A network architecture; a subclass registers under its name and builds the module."""

    channels: ClassVar[int]
    """Channels of the images it takes (1: grey, 3: RGB)."""
    min_size: ClassVar[int]
    """Smallest side of an image in pixels; smaller images are enlarged to it."""
    min_batch: ClassVar[int] = 1
    """Fewest images that it can train on at once: 2 where a norm has one value an image, whose variance it needs."""

    auto_precision: ClassVar[Literal["fp32", "bf16"]] = "fp32"
    """What ``precision: auto`` means for it: bf16 where it is large enough to be trained on tensor cores."""

    def check(self, spec: TrialSpec) -> None:
        """ValueError if it does not suit ``spec``'s images."""

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        """The module for images in [0, 1] with channel mean and deviation ``statistics``, its weights torch's own."""
        raise NotImplementedError

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw the initial weights of ``module``, which :meth:`build` made, on the CPU.

        By default convolutions are Kaiming normal by fan in and linear layers PyTorch's own, as in the paper's ResNets.
        """
        draw(module, generator, convolution=kaiming_fan_in, linear=torch_default)


class ScaledModel(Model):
    """A network whose numbers of channels can be multiplied."""

    width: float = Field(default=1.0, gt=0, le=8, description="multiplier on the number of channels")

    def scaled(self, channels: int) -> int:
        """``channels`` times the width, at least 1."""
        return max(1, round(self.width * channels))


models: Registry[Model] = Registry("model")

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights of ``nn.MultiheadAttention`` beside its output layer; those that it does not have are None."""


def maskable(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that a mask applies to, by name: all convolution and linear weights, no biases, no norms.

    The projections inside ``nn.MultiheadAttention`` are linear weights too: one for queries, keys and values together,
    or three where their widths differ.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        own = ["weight"] if isinstance(layer, nn.Conv2d | nn.Linear) else []
        if isinstance(layer, nn.MultiheadAttention):
            own = [part for part in PROJECTIONS if getattr(layer, part) is not None]
        weights |= {f"{prefix}{part}": getattr(layer, part) for part in own}
    return weights
