"""What a run left is what it would have left: names, shapes, types and numbers, for each kind of file.

A file may be whole, bear the right id, and still not be usable: made by another version, by hand, or by an error of
ours. The same checks are made before a run leaves something, so that nothing is refused that was made by the rules.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.models import maskable
from sparsweep.trainables.sparsifiers import Masks
from sparsweep.trainables.sparsifiers.masks import is_plain
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from sparsweep.trainables.training.trainer import EpochMetrics, Trainer

if TYPE_CHECKING:
    from sparsweep.trainables.data import Dataset
    from sparsweep.trainables.models import Model

_NUMBERS: dict[type, Any] = {int: int, float: int | float}
FIELDS = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(EpochMetrics)}
"""Of an epoch in a checkpoint, and whether it must be there."""


def check_like(found: Any, example: Any, place: str) -> None:
    """Raise Damaged, which names the ``place``, unless ``found`` is built as ``example`` is.

    Mappings have the same keys; tensors the same shape and type, in plain memory; numbers are finite.
    """
    if isinstance(example, Mapping):
        if not isinstance(found, Mapping) or found.keys() != example.keys():
            raise CorruptFileError(f"{place} has other parts")
        for key, part in example.items():
            check_like(found[key], part, f"{place}.{key}")
    elif isinstance(example, torch.Tensor):
        if not is_plain(found) or found.dtype != example.dtype or found.shape != example.shape:
            raise CorruptFileError(f"{place} is {describe(found)}, not {describe(example)}")
    elif isinstance(found, bool) or not (isinstance(found, _NUMBERS[type(example)]) and math.isfinite(found)):
        raise CorruptFileError(f"{place} is not a finite {type(example).__name__}")


def describe(value: Any) -> str:
    """A few words on a tensor, or the type of another value."""
    if not isinstance(value, torch.Tensor) or value.is_nested:
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def check_finite(model: Mapping[str, torch.Tensor], place: str) -> None:
    """Raise Damaged unless all numbers of ``model`` are finite."""
    for name, value in model.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CorruptFileError(f"{place}.{name} is not finite")


def check_training(found: Any, training: Trainer, length: int) -> None:
    """Raise Damaged unless ``training``, which has just begun, can go on from the state ``found``.

    ``length``: the epochs that are trained in all.
    """
    like = training.state()
    try:
        parts = {**found, "optimizer": found["optimizer"]["state"]}  # the rest of it is the recipe's
        history, topology = parts.pop("history"), parts["topology"]
        if "initial" in topology:
            like["topology"] |= dict.fromkeys(("initial", "explored"), like["topology"]["masks"])
    except (LookupError, TypeError):
        raise CorruptFileError("the training has other parts") from None
    del like["history"]
    check_like(parts, {**like, "optimizer": like["optimizer"]["state"]}, "training")
    check_finite(parts["model"], "training.model")
    _check_history(history, training.epoch, parts["epoch"], length)
    try:
        training.validated_masks(Masks(topology["masks"]), training.timeline.first_step(parts["epoch"]) - 1)
    except AssertionError as error:
        raise CorruptFileError(str(error)) from None


def _check_history(history: Any, first: int, epoch: int, length: int) -> None:
    """Raise Damaged unless ``history`` is that of the epochs from ``first`` on up to ``epoch``, before the last."""
    if not isinstance(history, list) or not 0 < len(history) < length:
        raise CorruptFileError(f"training.history is not that of 1 to {length - 1} epochs")
    for number, record in enumerate(history, start=first + 1):
        needed = {name for name, must in FIELDS.items() if must}
        if not isinstance(record, dict) or not needed <= record.keys() <= FIELDS.keys() or record["epoch"] != number:
            raise CorruptFileError("training.history has other epochs")
        for name, value in record.items():
            if value is not None or name in needed - {"test_accuracy"}:
                check_like(value, number if name == "epoch" else 0.0, f"training.history.{name}")
    check_like(epoch, 0, "training.epoch")
    if epoch != history[-1]["epoch"]:
        raise CorruptFileError("training.epoch is not the last of its history")


@cache
def _state_of(model: Model, dataset: Dataset) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The state of a network without its data, and the names of its maskable weights."""
    with torch.device("meta"):
        network = model.build(dataset.classes, ([0.0] * model.channels, [1.0] * model.channels))
    return network.state_dict(), tuple(maskable(network))


def check_weights(left: Any, trial: TrialSpec) -> None:
    """Raise Damaged unless ``left`` is what a training of the network of ``trial`` leaves (see ``runs``)."""
    state, names = _state_of(trial.model, trial.dataset)
    masks = {name: torch.empty_like(state[name], dtype=torch.bool) for name in names}
    lineage = left.get("lineage") if isinstance(left, dict) else None
    ancestors = dict.fromkeys(lineage if isinstance(lineage, dict) else (), 0.0)
    needed = {"model": state, "masks": masks, "train_flops": 0.0, "lineage": ancestors}
    parts = {name: left[name] for name in needed if name in left} if isinstance(left, dict) else left
    check_like(parts, needed, "weights")  # another version may leave more than this one needs
    check_finite(left["model"], "weights.model")
    ends = torch.stack([end for name in names for end in left["model"][name].aminmax()])
    if ends.min() == ends.max():
        raise CorruptFileError("weights.model has one value everywhere")


def check_scores(scores: pa.Table, labels: np.ndarray) -> None:
    """Raise Damaged unless ``scores`` (by ``sample``) are of training samples of these ``labels``, and rank them."""
    if not np.array_equal(scores["sample"].to_numpy(), np.arange(len(labels))):
        raise CorruptFileError(f"{len(scores)} scores, not one for each of {len(labels)} samples")
    if not np.array_equal(scores["label"].to_numpy(), labels):
        raise CorruptFileError("its labels are those of other data")
    check_ranking(scores["score"].to_numpy())


def check_ranking(values: np.ndarray) -> None:
    """Raise Damaged unless ``values`` are finite and tell samples apart."""
    if not np.isfinite(values).all():
        raise CorruptFileError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite")
    if len(values) > 1 and values.min() == values.max():
        raise CorruptFileError(f"all {len(values)} scores are equal")


def check_images(images: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise Damaged unless ``images`` by split have these ``shapes``."""
    found = {split: part.shape for split, part in images.items()}
    if found != shapes:
        raise CorruptFileError(f"its images are {found}, not {dict(shapes)}")
