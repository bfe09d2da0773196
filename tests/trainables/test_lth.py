"""The lottery ticket in rounds and with rewinding: which trials there are, and whose mask and weights they take."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.sparsifiers import dense_counterpart
from sparsweep.trainables.sparsifiers.masks import num_active
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.partial import SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec, from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import trial


def lth(sparsity: float, **fields: Any) -> TrialSpec:
    return trial(sparsifier={"name": "lth", **fields}, sparsity=sparsity)


def chain(spec: TrialSpec) -> list[TrialSpec]:
    """The trials from the dense one to ``spec``."""
    parents = [parent for parent in spec.prerequisites() if isinstance(parent, TrialSpec)]
    return [*chain(parents[0]), spec] if parents else [spec]


# Which trials --------------------------------------------------------------------------------------------------------


def test_one_round_needs_the_dense_trial_alone() -> None:
    spec = lth(0.8)
    assert spec.prerequisites() == (dense_counterpart(spec),)
    assert spec.sparsifier.rounds == 1 and spec.sparsifier.through == ()


def test_rounds_take_the_same_share_of_what_is_left_by_hand() -> None:
    """Three rounds to density 1/8: each keeps a half."""
    trials = chain(lth(0.875, rounds=3))
    assert [one.sparsity for one in trials] == [0.0, 0.5, 0.75, 0.875]
    assert [one.sparsifier.name for one in trials] == ["dense", "lth", "lth", "lth"]


def test_a_round_is_the_trial_that_one_would_ask_for_by_itself() -> None:
    """The chain to .875 in three rounds holds the trial at .75 in two: they are shared."""
    *_, before, last = chain(lth(0.875, rounds=3))
    assert before.id == lth(0.75, rounds=2).id
    assert last.id == lth(0.875, through=[0.5, 0.75]).id


def test_sparsities_between_rounds_are_decimals_of_six_digits() -> None:
    """They are in ids, and the last bits of a power differ between machines."""
    assert lth(0.9, rounds=3).sparsifier.through == (0.535841, 0.784557)


def test_a_grid_through_its_own_sparsities_is_one_chain() -> None:
    """Each point needs the point before, and the first the dense one; every trial says the same list."""
    grid = [0.2, 0.5, 0.8, 0.9]
    points = {sparsity: lth(sparsity, through=grid) for sparsity in grid}
    assert [one.id for one in chain(points[0.9])][1:] == [points[sparsity].id for sparsity in grid]
    assert chain(points[0.2])[0].id == dense_counterpart(points[0.9]).id


def test_entries_that_do_not_count_are_not_in_the_id() -> None:
    spec = lth(0.5, through=[0.2, 0.5, 0.8])
    assert spec == lth(0.5, through=[0.2]) == lth(0.5, through=[0.2, 0.9])
    assert (spec.sparsifier.rounds, spec.sparsifier.through) == (2, (0.2,))
    assert lth(0.2, through=[0.2, 0.5, 0.8]) == lth(0.2) == lth(0.2, rounds=1)
    assert from_json(to_json(spec)) == spec


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"through": [0.5, 0.2]}, "sparsifier.through: must be ascending sparsities above 0 (got [0.5, 0.2])."),
        ({"through": [0.0, 0.2]}, "sparsifier.through: must be ascending sparsities above 0 (got [0.0, 0.2])."),
        (
            {"through": [0.2, 0.5, 0.9], "rounds": 2},
            "sparsifier.rounds: through lists 2 sparsities below 0.8 (got 2 rounds). Leave out rounds or through.",
        ),
        ({"rewind_to": 2}, "sparsifier.rewind_to: must be less than recipe.epochs 2 (got 2)."),
        ({"rounds": 0}, "sparsifier.rounds: Input should be greater than or equal to 1 (got 0)"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        lth(0.8, **fields)
    assert format_error(caught.value) == said


def test_rewinding_needs_a_snapshot_of_the_dense_trial_in_every_round() -> None:
    spec = lth(0.75, rounds=2, rewind_to=1)
    snapshot = SnapshotSpec(trial=dense_counterpart(spec), epochs=1)
    parent, needed = spec.prerequisites()
    assert needed == snapshot and parent.prerequisites()[1] == snapshot
    assert parent == lth(0.5, rewind_to=1)
    assert spec.num_epochs == 1, "the first epoch was trained by the dense network"


# Whose mask and weights ----------------------------------------------------------------------------------------------


def run(spec: RunSpec, store: Store, raw: ImageData, digits: DeviceData) -> dict[str, Any]:
    """Everything that ``spec`` needs and itself, in order; what it leaves."""
    for parent in spec.prerequisites():
        run(parent, store, raw, digits)
    if not store.exists(store.artifact_path("weights", spec.id)):
        assert open_run(spec, RunInputs(lambda: raw, lambda _: digits), store, "test").run_for(float("inf")).is_finished
    return store.read_weights(spec.id)


def test_rounds_prune_what_the_round_before_trained(store: Store, raw_digits: ImageData, digits: DeviceData) -> None:
    spec = lth(0.875, rounds=3)
    left = [run(one, store, raw_digits, digits) for one in chain(spec)]
    initial = build_model(spec, digits).state_dict()
    size = sum(mask.numel() for mask in left[0]["masks"].values())
    for before, after, one in zip(left, left[1:], chain(spec)[1:], strict=False):
        magnitudes = torch.cat([before["model"][name].abs().flatten() for name in after["masks"]])
        masks = torch.cat([mask.flatten() for mask in after["masks"].values()])
        was = torch.cat([mask.flatten() for mask in before["masks"].values()])
        assert int(masks.sum()) == num_active(size, one.sparsity)
        assert not (masks & ~was).any(), "nothing comes back"
        assert magnitudes[masks].min() > magnitudes[was & ~masks].max(), "the smallest of what was trained go"
    again = Trainer(spec, digits, torch.arange(40), lambda parent: store.read_weights(parent.id)["model"])
    for name, mask in again.masks.items():
        assert torch.equal(again.model.get_parameter(name), initial[name] * mask), "back at the initial weights"
    costs = [one["train_flops"] for one in left]
    assert left[-1]["lineage"] == {one.id: cost for one, cost in zip(chain(spec), costs[:-1], strict=False)}


def test_the_epochs_before_a_rewinding_count_once(store: Store, raw_digits: ImageData, digits: DeviceData) -> None:
    """What two rounds from epoch 1 of 2 came from: the dense trial, whose first epoch the snapshot repeats."""
    spec = lth(0.75, rounds=2, rewind_to=1)
    left = run(spec, store, raw_digits, digits)
    dense, first, _ = chain(spec)
    costs = {one.id: store.read_weights(one.id)["train_flops"] for one in (dense, first)}
    assert left["lineage"] == costs
    content = store.read(store.result_path("trials", spec.id))
    assert content is not None
    (row,) = pq.read_table(BytesIO(content)).to_pylist()
    assert row["prerequisite_flops"] == sum(costs.values())


def test_rewound_weights_and_statistics_are_those_after_the_epoch(
    store: Store, raw_digits: ImageData, digits: DeviceData
) -> None:
    """With hardly a weight less than dense, it goes on about as the dense network did."""
    spec = lth(0.0002, rewind_to=1)
    run(spec, store, raw_digits, digits)
    snapshot = store.read_weights(spec.prerequisites()[1].id)["model"]
    indices = spec.difficulty.select(spec, digits.train_labels, None)  # type: ignore[arg-type]
    rewound = Trainer(spec, digits, indices, lambda parent: store.read_weights(parent.id)["model"])
    assert rewound.epoch == 1
    for key, value in rewound.model.state_dict().items():
        expected = snapshot[key] * rewound.masks[key] if key in rewound.masks else snapshot[key]
        assert torch.equal(value, expected), key
    assert not any(momentum.any() for momentum in rewound.masked_params.momenta().values()), "a new optimiser"
    dense = Trainer(dense_counterpart(spec), digits, indices, lambda parent: {})
    dense.train_epoch(), dense.train_epoch()
    last = rewound.train_epoch()
    assert (last.epoch, last.lr) == (2, dense.history[-1].lr)
    assert last.train_loss == pytest.approx(dense.history[-1].train_loss, rel=0.05)
