"""Prediction depth: hand-computed depths and neighbors, comparisons with scikit-learn and with the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsweep.trainables.difficulties.scores import prediction_depth as module
from sparsweep.trainables.difficulties.scores.prediction_depth import (
    blocks,
    nearest_vote,
    prediction_depth,
    prediction_depth_of,
    probe,
    representation,
)
from sparsweep.trainables.models import models
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float
from support.tiny_trials import create_trainer, part, scoring_context, trial


def test_depth_by_hand() -> None:
    """Agreement: from the input on; from probe 1 on; never; at the last probe; at the input and the last probe."""
    votes = torch.tensor([[7, 1, 1, 1, 7], [7, 7, 1, 1, 1], [7, 7, 1, 7, 7]])
    assert prediction_depth(votes, torch.full((5,), 7)).tolist() == [0, 1, 3, 2, 2]


def parts(features: torch.Tensor, labels: torch.Tensor, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(features.split(size), labels.split(size), strict=True)


LINE = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [13.0]])


@pytest.mark.parametrize("size", [1, 2, 6])
def test_neighbors_on_a_line_by_hand(size: int) -> None:
    """Three nearest neighbors: 1, 2, 10 for sample 0; 10, 13, 2 for sample 11; 11, 10, 2 for sample 13."""
    labels = torch.tensor([0, 1, 1, 0, 0, 1])
    votes = nearest_vote(LINE, 0, parts(LINE, labels, size), 2, 3)
    #   0: 1 1 0     1: 0 1 0     2: 1 0 0     10: 0 1 1     11: 0 1 1     13: 0 0 1
    assert votes.tolist() == [1, 0, 0, 1, 1, 0]


def test_sample_does_not_vote_for_itself() -> None:
    assert nearest_vote(LINE[:2], 0, parts(LINE[:2], torch.tensor([0, 1]), 2), 2, 1).tolist() == [1, 0]


def test_all_other_samples_vote_if_there_are_few() -> None:
    """With three samples and 30 neighbors, the two other samples vote. A tie gives the lowest label."""
    votes = nearest_vote(LINE[:3], 0, parts(LINE[:3], torch.tensor([2, 2, 1]), 2), 3, 30)
    assert votes.tolist() == [1, 1, 2]


def test_queries_may_start_at_any_sample() -> None:
    labels = torch.tensor([0, 1, 1, 0, 0, 1])
    all_votes = nearest_vote(LINE, 0, parts(LINE, labels, 6), 2, 3)
    assert torch.equal(nearest_vote(LINE[3:], 3, parts(LINE, labels, 2), 2, 3), all_votes[3:])


def test_votes_equal_those_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    random = np.random.default_rng(0)
    features, labels = random.normal(size=(70, 5)), random.integers(0, 4, 70)
    votes = nearest_vote(
        torch.from_numpy(features), 0, parts(torch.from_numpy(features), torch.from_numpy(labels), 16), 4, 7
    )
    for left_out in range(70):
        others = np.delete(np.arange(70), left_out)
        expected = KNeighborsClassifier(7).fit(features[others], labels[others]).predict(features[[left_out]])
        assert votes[left_out] == expected[0]


def test_blocks_of_residual_networks() -> None:
    """The stem, every residual block, the classifier: 1 + 3 + 1 and 1 + 8 + 1."""
    for name, width, expected in (("resnet8", 1.0, 3), ("resnet18", 0.125, 8)):
        model = models.parse({"name": name, "width": width})
        network = model.build(10, ([0.5] * model.channels, [0.25] * model.channels))
        names = {block: name for name, block in network.named_modules()}
        block_names = [names[block] for block in blocks(network)]
        assert block_names[0] == "conv1" and block_names[-1] == "linear" and len(block_names) == expected + 2
        assert block_names[1] == "layer1.0" and all(name.startswith("layer") for name in block_names[1:-1])


def test_blocks_in_nested_containers() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ReLU())
    network = nn.Sequential(nn.Sequential(inner, nn.ModuleList([nn.Linear(1, 1)])), nn.Flatten(), nn.Linear(1, 1))
    assert [type(block) for block in blocks(network)] == [nn.Conv2d, nn.Linear, nn.Linear]


def test_representations_are_the_inputs_of_each_block(digits: DeviceData) -> None:
    training = create_trainer(trial(), digits)
    training.train_epoch()
    network, model, images = scoring_context(training).network, training.model, to_float(digits.train_images[:3])
    actual = [representation(network, block, images) for block in [*blocks(model), None]]
    with torch.no_grad():
        normalized = model.get_submodule("normalize")(images)
        stem = functional.relu(model.get_submodule("bn1")(model.get_submodule("conv1")(normalized)))
        stages = [stem]
        for stage in (1, 2, 3):
            stages.append(model.get_submodule(f"layer{stage}")(stages[-1]))
        expected = [normalized, *stages[:-1], stages[-1].mean((2, 3)), network(images).softmax(1)]
    assert len(actual) == len(expected) == 6
    for one, two in zip(actual, expected, strict=True):
        assert torch.equal(one, two.flatten(1))
    assert not any(block._forward_pre_hooks for block in model.modules())


def test_depths_of_a_network_do_not_depend_on_the_chunk_size(
    digits: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depths follow from the probes. Small chunks and batches give the same depths as large ones."""
    training = create_trainer(trial(), part(digits, 200), samples=200)
    for _ in range(2):
        training.train_epoch()
    view = scoring_context(training)
    depths = prediction_depth_of(view)
    votes = torch.stack([probe(view, block) for block in [*blocks(training.model), None]])
    assert votes.shape == (6, 200)
    assert torch.equal(prediction_depth(votes, view.logits.argmax(1)), depths)
    assert depths.dtype == torch.float64 and len(depths.unique()) > 1 and depths.min() >= 0 and depths.max() <= 6
    monkeypatch.setattr(module, "CHUNK", 5000)
    monkeypatch.setattr(module, "BATCH", 70)
    assert torch.equal(prediction_depth_of(scoring_context(training)), depths)
