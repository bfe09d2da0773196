"""The layers table for weights that are dropped and regrown, against masks by hand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import nn

from sparsweep.trainables.runs.result_rows import layer_rows, trial_row
from sparsweep.trainables.sparsifiers import InitContext, Masks, UpdateContext
from sparsweep.trainables.sparsifiers.dense import Dense
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.training.trainer import Trainer
from support.mask_updates import bits, mask
from support.tiny_trials import Flat, create_trainer, four_pixels, trial

# Masks with four of the twelve weights of a linear layer (four pixels, three classes), initially and after two updates.
SCRIPT = [
    mask(1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0).view(3, 4),
    mask(1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0).view(3, 4),
    mask(1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0).view(3, 4),
]


class Pooled(Flat):
    """A network of one linear layer on images of any size, pooled to 2x2."""

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, classes))


class Scripted(Dense):
    """A method with the masks of ``SCRIPT``. It is not registered."""

    def initialize(self, start: InitContext) -> Masks:
        return Masks({"2.weight": SCRIPT[0]})

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        return (1, 2)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        return Masks({"2.weight": SCRIPT[context.step]})

    def num_active_at(self, total: int, step: int, spec: object, timeline: TrainingSteps) -> int:
        return 4


def scripted(epochs: int) -> Trainer:
    """Return a trainer after ``epochs`` epochs of one step. Each epoch uses the next mask of ``SCRIPT``."""
    spec = trial(model=Pooled(), sparsifier=Scripted(), recipe={"epochs": 3, "batch_size": 6})
    run = create_trainer(spec, four_pixels(), samples=6)
    for _ in range(epochs):
        run.train_epoch()
    return run


@pytest.mark.parametrize(
    ("epochs", "explored", "overlap"),
    [
        (1, 4 / 12, 4 / 4),
        (2, 6 / 12, 2 / 4),  # positions 0 to 5 were active; 0 and 1 of the first four still are
        (3, 7 / 12, 2 / 4),  # 0 to 6; 0 and 2 of the first four, although 2 was dropped in between
    ],
)
def test_exploration_and_overlap_by_hand(epochs: int, explored: float, overlap: float) -> None:
    run = scripted(epochs)
    (row,) = layer_rows(run.spec, run)
    assert bits(run.masks) == {"2.weight": SCRIPT[epochs - 1].int().tolist()}
    assert (row["weights"], row["nonzero"], row["density"]) == (12, 4, 4 / 12)
    assert row["explored"] == explored
    assert row["initial_overlap"] == overlap
    assert row["flops"] == 2 * 12 * 4 / 12
    totals = trial_row(run.spec, run, [row], {}, {}, {})
    assert totals["exploration_rate"] == pytest.approx(explored)
    assert totals["mask_overlap"] == pytest.approx(overlap)


def test_layer_rows_are_the_same_after_a_resume() -> None:
    saved = tensor_file.dumps(scripted(2).state())
    run = scripted(0)
    run.restore(tensor_file.loads(saved))
    run.train_epoch()
    assert layer_rows(run.spec, run) == layer_rows(run.spec, scripted(3))


def test_totals_over_layers_are_weighted_means() -> None:
    run = scripted(1)
    rows = [
        {"weights": 12, "nonzero": 4, "explored": 0.5, "initial_overlap": 0.5},
        {"weights": 36, "nonzero": 0, "explored": 0.25, "initial_overlap": None},
    ]
    topology = run.masked_params
    topology.masks = Masks({"a": torch.ones(4, 12, dtype=torch.bool)})
    topology.counts = {"a": 4}
    totals = trial_row(run.spec, run, rows, {}, {}, {})
    assert totals["exploration_rate"] == pytest.approx((0.5 * 12 + 0.25 * 36) / 48)
    assert totals["mask_overlap"] == pytest.approx(0.5)
