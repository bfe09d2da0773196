"""Checks of stored files against the files that a run would write: names, shapes, dtypes and values.

A complete file with the correct id may still be unusable: another version, a user or a bug may have written it. Runs
make the same checks before they write a file. A reader therefore never rejects a valid file.
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
"""Fields of an epoch in a checkpoint, and whether each is required."""


def check_like(found: Any, example: Any, place: str) -> None:
    """Check that ``found`` has the structure of ``example``.

    Mappings must have the same keys. Tensors must have the same shape and dtype, and be dense CPU tensors. Numbers must
    be finite.

    Args:
        found: Value from the file.
        example: Value with the expected structure.
        place: Path of the value in the file, for errors.

    Raises:
        CorruptFileError: The structure differs.
    """
    if isinstance(example, Mapping):
        if not isinstance(found, Mapping) or found.keys() != example.keys():
            raise CorruptFileError(f"{place} has an unexpected structure")
        for key, part in example.items():
            check_like(found[key], part, f"{place}.{key}")
    elif isinstance(example, torch.Tensor):
        if not is_plain(found) or found.dtype != example.dtype or found.shape != example.shape:
            raise CorruptFileError(f"{place} is {describe(found)}, not {describe(example)}")
    elif isinstance(found, bool) or not (isinstance(found, _NUMBERS[type(example)]) and math.isfinite(found)):
        raise CorruptFileError(f"{place} is not a finite {type(example).__name__}")


def describe(value: Any) -> str:
    """Return dtype and shape of a tensor, or the type of another value."""
    if not isinstance(value, torch.Tensor) or value.is_nested:
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def check_finite(model: Mapping[str, torch.Tensor], place: str) -> None:
    """Check that all numbers of ``model`` are finite.

    Args:
        model: Tensors by name.
        place: Path of the tensors in the file, for errors.

    Raises:
        CorruptFileError: A number is not finite.
    """
    for name, value in model.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CorruptFileError(f"{place}.{name} is not finite")


def check_training(found: Any, training: Trainer, length: int) -> None:
    """Check that ``training``, before its first step, can continue from the state ``found``.

    Args:
        found: State from a checkpoint.
        training: Training that may continue.
        length: Number of epochs of the full training.

    Raises:
        CorruptFileError: The state is not that of this training.
    """
    expected = training.state()
    try:
        content = {**found, "optimizer": found["optimizer"]["state"]}  # the recipe determines the rest
        history, topology = content.pop("history"), content["topology"]
        if "initial" in topology:
            expected["topology"] |= dict.fromkeys(("initial", "explored"), expected["topology"]["masks"])
    except (LookupError, TypeError):
        raise CorruptFileError("the training has an unexpected structure") from None
    del expected["history"]
    check_like(content, {**expected, "optimizer": expected["optimizer"]["state"]}, "training")
    check_finite(content["model"], "training.model")
    _check_history(history, training.epoch, content["epoch"], length)
    try:
        training.validated_masks(Masks(topology["masks"]), training.timeline.first_step(content["epoch"]) - 1)
    except AssertionError as error:
        raise CorruptFileError(str(error).removesuffix(".")) from None


def _check_history(history: Any, first: int, epoch: int, length: int) -> None:
    """Check that ``history`` has the epochs from ``first`` + 1 to ``epoch``, and not the last of all ``length``."""
    if not isinstance(history, list) or not 0 < len(history) < length:
        raise CorruptFileError(f"training.history is_required have 1 to {length - 1} epochs")
    for number, record in enumerate(history, start=first + 1):
        required = {name for name, is_required in FIELDS.items() if is_required}
        if not isinstance(record, dict) or not required <= record.keys() <= FIELDS.keys() or record["epoch"] != number:
            raise CorruptFileError("training.history has unexpected epochs")
        for name, value in record.items():
            if value is not None or name in required - {"test_accuracy"}:
                check_like(value, number if name == "epoch" else 0.0, f"training.history.{name}")
    check_like(epoch, 0, "training.epoch")
    if epoch != history[-1]["epoch"]:
        raise CorruptFileError("training.epoch is not the last epoch of training.history")


@cache
def _state_of(model: Model, dataset: Dataset) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return the state of a network without data, and the names of its maskable weights."""
    with torch.device("meta"):
        network = model.build(dataset.classes, ([0.0] * model.channels, [1.0] * model.channels))
    return network.state_dict(), tuple(maskable(network))


def check_weights(left: Any, trial: TrialSpec) -> None:
    """Check that ``left`` is the output of a training of ``trial`` (see ``runs.trial``).

    Args:
        left: Content of a weights file.
        trial: Trial that was trained.

    Raises:
        CorruptFileError: The content is not that of this trial.
    """
    state, names = _state_of(trial.model, trial.dataset)
    masks = {name: torch.empty_like(state[name], dtype=torch.bool) for name in names}
    lineage = left.get("lineage") if isinstance(left, dict) else None
    ancestors = dict.fromkeys(lineage if isinstance(lineage, dict) else (), 0.0)
    expected = {"model": state, "masks": masks, "train_flops": 0.0, "lineage": ancestors}
    content = {name: left[name] for name in expected if name in left} if isinstance(left, dict) else left
    check_like(content, expected, "weights")  # another version may write additional keys
    check_finite(left["model"], "weights.model")
    ends = torch.stack([end for name in names for end in left["model"][name].aminmax()])
    if ends.min() == ends.max():
        raise CorruptFileError("all values of weights.model are equal")


def check_scores(scores: pa.Table, labels: np.ndarray) -> None:
    """Check that ``scores`` belong to training samples with these ``labels``, and rank them.

    Args:
        scores: Table with the columns ``sample``, ``label`` and ``score``.
        labels: int64 ``(N,)``, labels of the training set.

    Raises:
        CorruptFileError: Samples or labels differ, or the scores are unusable.
    """
    if not np.array_equal(scores["sample"].to_numpy(), np.arange(len(labels))):
        raise CorruptFileError(
            f"it must have one score per sample (got {len(scores)} scores for {len(labels)} samples)"
        )
    if not np.array_equal(scores["label"].to_numpy(), labels):
        raise CorruptFileError("its labels differ from those of the data set")
    check_ranking(scores["score"].to_numpy())


def check_ranking(values: np.ndarray) -> None:
    """Check that ``values`` are finite and not all equal.

    Raises:
        CorruptFileError: The values cannot rank samples.
    """
    if not np.isfinite(values).all():
        raise CorruptFileError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite")
    if len(values) > 1 and values.min() == values.max():
        raise CorruptFileError(f"all {len(values)} scores are equal")


def check_test_images(images: Mapping[str, np.ndarray], split: str, shape: tuple[int, ...]) -> None:
    """Check that a file has images of one split, any number of them.

    Args:
        images: uint8 ``(N, C, H, W)`` by split.
        split: Name of the split.
        shape: Expected shape of an image.

    Raises:
        CorruptFileError: The split or the shape differs.
    """
    actual = {name: part.shape[1:] for name, part in images.items()}
    if actual != {split: shape} or not len(images[split]):
        raise CorruptFileError(f"its images have shapes {actual}, not { ({split: shape}) }")


def check_images(images: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check the shapes of corrupted images.

    Args:
        images: uint8 ``(N, C, H, W)`` by split.
        shapes: Expected shapes by split.

    Raises:
        CorruptFileError: A shape differs.
    """
    actual = {split: part.shape for split, part in images.items()}
    if actual != shapes:
        raise CorruptFileError(f"its images have shapes {actual}, not {dict(shapes)}")
