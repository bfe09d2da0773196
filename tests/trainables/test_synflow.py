"""SynFlow: scores by hand, conservation of flow, no layer collapse, and the pruning rounds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsweep.trainables.models.modules import Normalize
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.masks import num_active, top_k_global
from sparsweep.trainables.sparsifiers.saliency import abs_network, synaptic_flow
from sparsweep.trainables.sparsifiers.synflow import SynFlow
from sparsweep.trainables.training.flops import layer_flops
from support.tiny_trials import create_trainer, trial


def chain() -> nn.Module:
    """Return layers without biases, with initial batch norm (mean 0, variance 1) and normalized input."""
    torch.manual_seed(0)
    return nn.Sequential(
        Normalize([0.3], [0.2]),
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4, eps=0.0),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 5, bias=False),
        nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )


def full(model: nn.Module) -> Masks:
    return Masks({f"{name}.weight": torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in layers(model)})


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in model.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)]


def test_scores_by_hand() -> None:
    """x = (1, 1), |A| = [[1, 2], [3, 0]], |b| = (5, 7): R = 5 (1 + 2) + 7 (3 + 0) = 36.

    The score of a weight is the sum over the paths through the weight.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    model[2].weight.data = torch.tensor([[-5.0, 7.0]])
    probe = abs_network(model)
    scores = synaptic_flow(probe, (1, 1, 2), full(model))
    assert scores["1.weight"].tolist() == [[5, 10], [21, 0]]
    assert scores["2.weight"].tolist() == [[15, 21]]
    masks = Masks({"1.weight": torch.tensor([[True, False], [True, True]]), "2.weight": torch.tensor([[True, True]])})
    assert synaptic_flow(probe, (1, 1, 2), masks)["2.weight"].tolist() == [[5, 21]]


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_flow_is_equal_in_all_layers(sparsity: float) -> None:
    """The scores of every layer sum to R, with and without pruning."""
    model = chain()
    probe, masks = abs_network(model), full(model)
    scores = synaptic_flow(probe, (1, 6, 6), masks)
    if sparsity:
        masks = top_k_global(scores, num_active(masks.size, sparsity))
        scores = synaptic_flow(probe, (1, 6, 6), masks)
    sums = [score.sum().item() for score in scores.values()]
    for name, weight in probe.named_parameters():
        if name in masks:
            weight.data *= masks[name]
    flow = probe(torch.ones(1, 1, 6, 6, dtype=torch.float64)).sum().item()
    assert flow > 0 and sums == pytest.approx([flow] * 4, rel=1e-9)


def test_flow_is_conserved_at_every_unit() -> None:
    """Input and output scores of a hidden unit have the same sum."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 7, bias=False), nn.ReLU(), nn.Linear(7, 4, bias=False))
    scores = synaptic_flow(abs_network(model), (1, 3, 3), full(model))
    assert torch.allclose(scores["1.weight"].sum(1), scores["3.weight"].sum(0), rtol=1e-12)


def test_scores_do_not_depend_on_data_normalization_and_signs() -> None:
    model, other = chain(), chain()
    other[0].mean += 0.4
    for parameter in other.parameters():
        parameter.data *= -1
    shapes = (1, 6, 6)
    first, second = (synaptic_flow(abs_network(net), shapes, full(net)) for net in (model, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_scoring_does_not_change_the_network() -> None:
    model = chain().train()
    before = copy.deepcopy(model.state_dict())
    synaptic_flow(abs_network(model), (1, 6, 6), full(model))
    assert model.training and all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_many_rounds_keep_a_path_where_one_round_removes_all(digits: DeviceData) -> None:
    """Tanaka et al.: at high sparsity, one-shot scores mask entire layers. The flow is 0 then, but not with rounds."""

    def flow(iterations: int) -> float:
        method = SynFlow(iterations=iterations)
        masks = create_trainer(trial(sparsifier=method, sparsity=0.995), digits).masks
        scores = synaptic_flow(abs_network(create_trainer(trial(), digits).model), (1, 8, 8), masks)
        return sum(score.sum().item() for score in scores.values())

    assert flow(1) == 0 < flow(100)


def test_rounds_follow_the_schedule_and_never_regrow_weights(
    digits: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Masks] = []

    def recorded_flow(probe: nn.Module, shape: tuple[int, ...], masks: Masks) -> dict[str, torch.Tensor]:
        seen.append(masks)
        return synaptic_flow(probe, shape, masks)

    monkeypatch.setattr("sparsweep.trainables.sparsifiers.synflow.synaptic_flow", recorded_flow)
    run = create_trainer(trial(sparsifier=SynFlow(iterations=4), sparsity=0.9375), digits)
    total = run.masks.size
    assert [sum(masks.counts().values()) for masks in (*seen, run.masks)] == [
        num_active(total, 1 - density) for density in (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
    ]
    for before, after in zip(seen, [*seen[1:], run.masks], strict=True):
        assert not any((after[name] & ~before[name]).any() for name in after)


def test_flops_of_the_rounds_are_counted(digits: DeviceData) -> None:
    """A round costs three forward passes of one image. The first layer costs two: its input needs no gradient."""
    run = create_trainer(trial(sparsifier=SynFlow(iterations=10), sparsity=0.5), digits)
    dense = sum(run.layer_flops.values())
    assert run.train_flops == 3 * dense * 10
    model = chain()
    with FlopCounterMode(display=False) as counter:
        synaptic_flow(abs_network(model), (1, 6, 6), full(model))
    flops = layer_flops(model, (1, 6, 6))
    assert counter.get_total_flops() == 3 * sum(flops.values()) - flops["1.weight"]
