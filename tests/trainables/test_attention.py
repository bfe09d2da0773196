"""Networks with attention: projections are masked, counted, seeded and stored like other weights."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import nn

from sparsweep.trainables.models import Model, maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.runs.result_rows import layer_rows
from sparsweep.trainables.testing import tiny_trial, train_and_check, training
from sparsweep.trainables.training.flops import layer_flops

TOKENS, WIDTH = 9, 8


class Patches(nn.Module):
    """2x2 patches of gray images as tokens, plus a parameter that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.shift = nn.Parameter(torch.randn(WIDTH))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.cut(images).flatten(2).transpose(1, 2) + self.shift


class Attentive(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = Patches()
        self.encoder = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.patches(images)).mean(1))


class Transformer(Model):
    """A transformer of one block. It is not registered, so no sweep can use it."""

    name: Literal["transformer"] = "transformer"
    channels = 1
    min_size = 6

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return Attentive(classes)


def test_projections_are_maskable_under_their_own_names() -> None:
    module = Attentive(10)
    assert {name: tuple(weight.shape) for name, weight in maskable(module).items()} == {
        "patches.cut.weight": (8, 1, 2, 2),
        "encoder.self_attn.in_proj_weight": (24, 8),
        "encoder.self_attn.out_proj.weight": (8, 8),
        "encoder.linear1.weight": (16, 8),
        "encoder.linear2.weight": (8, 16),
        "head.weight": (10, 8),
    }
    state = module.state_dict()
    assert all(name in state for name in maskable(module))


def test_flops_by_hand() -> None:
    """Two operations per weight and token. The classifier has one token."""
    flops = layer_flops(Attentive(10), (1, 6, 6))
    assert flops == {
        "patches.cut.weight": 2 * TOKENS * 8 * 4,
        "encoder.self_attn.in_proj_weight": 2 * TOKENS * 24 * 8,
        "encoder.self_attn.out_proj.weight": 2 * TOKENS * 8 * 8,
        "encoder.linear1.weight": 2 * TOKENS * 16 * 8,
        "encoder.linear2.weight": 2 * TOKENS * 16 * 8,
        "head.weight": 2 * 10 * 8,
    }
    assert torch.backends.mha.get_fastpath_enabled()


class Crossed(nn.Module):
    """Queries of width 8 (four tokens), keys of width 4 and values of width 2 (six tokens)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=2, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one = images.flatten(1).new_ones
        count = len(images)
        out, _ = self.attention(one(count, 4, 8), key=one(count, 6, 4), value=one(count, 6, 2))
        return out.mean(1)


def test_flops_of_projections_of_different_width_by_hand() -> None:
    assert layer_flops(Crossed(), (1, 2, 2)) == {
        "attention.q_proj_weight": 2 * 4 * 8 * 8,
        "attention.k_proj_weight": 2 * 6 * 8 * 4,
        "attention.v_proj_weight": 2 * 6 * 8 * 2,
        "attention.out_proj.weight": 2 * 4 * 8 * 8,
    }


class Shared(nn.Module):
    """A network that uses one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(images.flatten(1)))


def test_a_layer_used_twice_counts_twice() -> None:
    assert layer_flops(Shared(), (1, 2, 2)) == {"layer.weight": 2 * 2 * 16}


class Functional(nn.Module):
    """A network that uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(images.flatten(1), self.layer.weight)


def test_a_weight_used_outside_its_layer_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^model: no call of its layer uses layer\.weight"):
        layer_flops(Functional(), (1, 2, 2))


@pytest.mark.parametrize("sparsifier", ["random", "set", "rigl", "snip", "gmp", "topkast", "nm"])
def test_methods_prune_projections_like_other_weights(sparsifier: str) -> None:
    run = train_and_check(tiny_trial({"name": sparsifier}, 0.5, model=Transformer()))
    mask = run.masks["encoder.self_attn.in_proj_weight"]
    assert 0 < int(mask.sum()) < mask.numel()
    assert not run.weights["encoder.self_attn.in_proj_weight"][~mask].any()
    kinds = {row["layer"]: row["kind"] for row in layer_rows(run.spec, run)}
    assert kinds["encoder.self_attn.in_proj_weight"] == "linear" and kinds["patches.cut.weight"] == "conv"


def test_all_initial_parameters_depend_only_on_the_seed() -> None:
    """This includes ``shift``, which no initialization rule of the package covers."""
    spec = tiny_trial("dense", 0.0, model=Transformer())
    data = training(spec).data
    torch.manual_seed(1)
    first = build_model(spec, data).state_dict()
    before = torch.random.get_rng_state()
    again, other = build_model(spec, data).state_dict(), build_model(spec.replace(seed=1), data).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["patches.shift"], other["patches.shift"])
