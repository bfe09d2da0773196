"""Iterative lottery tickets and rewinding: the trials of a chain, and the source of their masks and weights."""

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
    """Return the trials from the dense one to ``spec``."""
    parents = [parent for parent in spec.prerequisites() if isinstance(parent, TrialSpec)]
    return [*chain(parents[0]), spec] if parents else [spec]


# Trials of a chain ---------------------------------------------------------------------------------------------------


def test_one_round_needs_only_the_dense_trial() -> None:
    spec = lth(0.8)
    assert spec.prerequisites() == (dense_counterpart(spec),)
    assert spec.sparsifier.rounds == 1 and spec.sparsifier.through == ()


def test_each_round_prunes_the_same_share_by_hand() -> None:
    """Three rounds to density 1/8 keep half of the weights each."""
    trials = chain(lth(0.875, rounds=3))
    assert [one.sparsity for one in trials] == [0.0, 0.5, 0.75, 0.875]
    assert [one.sparsifier.name for one in trials] == ["dense", "lth", "lth", "lth"]


def test_chains_share_the_trials_of_their_rounds() -> None:
    """The chain to 0.875 in three rounds includes the trial at 0.75 in two rounds."""
    *_, before, last = chain(lth(0.875, rounds=3))
    assert before.id == lth(0.75, rounds=2).id
    assert last.id == lth(0.875, through=[0.5, 0.75]).id


def test_sparsities_between_rounds_have_six_decimals() -> None:
    """Ids include them, and the last bits of a power differ between machines."""
    assert lth(0.9, rounds=3).sparsifier.through == (0.535841, 0.784557)


def test_a_grid_with_through_set_to_its_sparsities_is_one_chain() -> None:
    """Each point needs the point before, the first needs the dense trial. All trials have the same list."""
    grid = [0.2, 0.5, 0.8, 0.9]
    points = {sparsity: lth(sparsity, through=grid) for sparsity in grid}
    assert [one.id for one in chain(points[0.9])][1:] == [points[sparsity].id for sparsity in grid]
    assert chain(points[0.2])[0].id == dense_counterpart(points[0.9]).id


def test_through_entries_without_effect_are_not_in_the_id() -> None:
    spec = lth(0.5, through=[0.2, 0.5, 0.8])
    assert spec == lth(0.5, through=[0.2]) == lth(0.5, through=[0.2, 0.9])
    assert (spec.sparsifier.rounds, spec.sparsifier.through) == (2, (0.2,))
    assert lth(0.2, through=[0.2, 0.5, 0.8]) == lth(0.2) == lth(0.2, rounds=1)
    assert from_json(to_json(spec)) == spec


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_invalid_fields_are_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        lth(0.8, **fields)
    assert format_error(caught.value) == message


def test_rewinding_needs_a_snapshot_of_the_dense_trial_in_every_round() -> None:
    spec = lth(0.75, rounds=2, rewind_to=1)
    snapshot = SnapshotSpec(trial=dense_counterpart(spec), epochs=1)
    parent, needed = spec.prerequisites()
    assert needed == snapshot and parent.prerequisites()[1] == snapshot
    assert parent == lth(0.5, rewind_to=1)
    assert spec.num_epochs == 1, "the dense network trains the first epoch"


# Masks and weights ---------------------------------------------------------------------------------------------------


def run(spec: RunSpec, store: Store, raw: ImageData, digits: DeviceData) -> dict[str, Any]:
    """Run the prerequisites of ``spec`` and then ``spec``. Return its stored weights."""
    for parent in spec.prerequisites():
        run(parent, store, raw, digits)
    if not store.exists(store.artifact_path("weights", spec.id)):
        assert open_run(spec, RunInputs(lambda: raw, lambda _: digits), store, "test").run_for(float("inf")).is_finished
    return store.read_weights(spec.id)


def test_each_round_prunes_the_weights_of_the_round_before(
    store: Store, raw_digits: ImageData, digits: DeviceData
) -> None:
    spec = lth(0.875, rounds=3)
    stored = [run(one, store, raw_digits, digits) for one in chain(spec)]
    initial = build_model(spec, digits).state_dict()
    size = sum(mask.numel() for mask in stored[0]["masks"].values())
    for before, after, one in zip(stored, stored[1:], chain(spec)[1:], strict=False):
        magnitudes = torch.cat([before["model"][name].abs().flatten() for name in after["masks"]])
        masks = torch.cat([mask.flatten() for mask in after["masks"].values()])
        previous = torch.cat([mask.flatten() for mask in before["masks"].values()])
        assert int(masks.sum()) == num_active(size, one.sparsity)
        assert not (masks & ~previous).any(), "no pruned weight may regrow"
        assert magnitudes[masks].min() > magnitudes[previous & ~masks].max(), (
            "the smallest trained weights must be pruned"
        )
    again = Trainer(spec, digits, torch.arange(40), lambda parent: store.read_weights(parent.id)["model"])
    for name, mask in again.masks.items():
        assert torch.equal(again.model.get_parameter(name), initial[name] * mask), "weights must be the initial ones"
    costs = [one["train_flops"] for one in stored]
    assert stored[-1]["lineage"] == {one.id: cost for one, cost in zip(chain(spec), costs[:-1], strict=False)}


def test_epochs_before_the_rewinding_point_are_counted_once(
    store: Store, raw_digits: ImageData, digits: DeviceData
) -> None:
    """The lineage of two rounds from epoch 1 of 2 includes the dense trial. The snapshot repeats its first epoch."""
    spec = lth(0.75, rounds=2, rewind_to=1)
    stored = run(spec, store, raw_digits, digits)
    dense, first, _ = chain(spec)
    costs = {one.id: store.read_weights(one.id)["train_flops"] for one in (dense, first)}
    assert stored["lineage"] == costs
    content = store.read(store.result_path("trials", spec.id))
    assert content is not None
    (row,) = pq.read_table(BytesIO(content)).to_pylist()
    assert row["prerequisite_flops"] == sum(costs.values())


def test_rewound_weights_and_statistics_are_those_after_the_epoch(
    store: Store, raw_digits: ImageData, digits: DeviceData
) -> None:
    """With almost all weights, training continues about as for the dense network."""
    spec = lth(0.0002, rewind_to=1)
    run(spec, store, raw_digits, digits)
    snapshot = store.read_weights(spec.prerequisites()[1].id)["model"]
    indices = spec.difficulty.select(spec, digits.train_labels, None)  # type: ignore[arg-type]
    rewound = Trainer(spec, digits, indices, lambda parent: store.read_weights(parent.id)["model"])
    assert rewound.epoch == 1
    for key, value in rewound.model.state_dict().items():
        expected = snapshot[key] * rewound.masks[key] if key in rewound.masks else snapshot[key]
        assert torch.equal(value, expected), key
    assert not any(momentum.any() for momentum in rewound.masked_params.momenta().values()), "the optimizer must be new"
    dense = Trainer(dense_counterpart(spec), digits, indices, lambda parent: {})
    dense.train_epoch(), dense.train_epoch()
    last = rewound.train_epoch()
    assert (last.epoch, last.lr) == (2, dense.history[-1].lr)
    assert last.train_loss == pytest.approx(dense.history[-1].train_loss, rel=0.05)
