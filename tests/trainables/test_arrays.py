"""The data set ``arrays``: images in one .npz file, and the seeded split of data without test images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsweep.trainables.data import CorruptDataError, Dataset, datasets
from sparsweep.trainables.data.arrays import Arrays
from sparsweep.trainables.data.splits import split_stratified
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_datasets import small_arrays, small_imagefolder

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (6, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def write(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def parts(images: np.ndarray = GRAY, labels: np.ndarray = LABELS, **changes: Any) -> dict[str, Any]:
    return {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels, **changes}


def parse(path: Path, **fields: Any) -> Dataset:
    return datasets.parse({"name": "arrays", "path": str(path), **fields})


# Layouts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (GRAY, (1, 8, 8)),
        (GRAY[..., None], (1, 8, 8)),
        (GRAY[:, None], (1, 8, 8)),
        (np.stack([GRAY] * 3, axis=-1), (3, 8, 8)),
        (np.stack([GRAY] * 3, axis=1), (3, 8, 8)),
    ],
)
def test_layouts_of_images(images: np.ndarray, shape: tuple[int, ...], tmp_path: Path) -> None:
    dataset = parse(write(tmp_path, **parts(images)))
    data = dataset.load()
    assert dataset.image_shape == shape and data.train_images.shape == (6, *shape)
    for channel in range(shape[0]):
        assert np.array_equal(data.train_images[:, channel], GRAY)
    assert np.array_equal(data.train_labels, LABELS) and data.train_labels.dtype == np.int64


def test_names_of_keras(tmp_path: Path) -> None:
    data = parse(write(tmp_path, x_train=GRAY, y_train=LABELS, x_test=GRAY[:3], y_test=LABELS[:3])).load()
    assert (len(data.train_images), len(data.test_images), data.classes) == (6, 3, 3)


def test_file_of_medmnist(tmp_path: Path) -> None:
    dataset = parse(small_arrays(tmp_path), validation=4)
    data = dataset.load()
    assert (dataset.available, dataset.train_size, dataset.classes) == (40, 36, 4)
    assert (len(data.train_images), len(data.validation_images), len(data.test_images)) == (36, 4, 20)


# Identity ------------------------------------------------------------------------------------------------------------


def trial(path: Path) -> TrialSpec:
    recipe = {"preset": "digits", "batch_size": 3}
    return TrialSpec(dataset=parse(path), model="resnet8", sparsifier="dense", recipe=recipe)


def test_id_depends_on_the_content_only(tmp_path: Path) -> None:
    path = write(tmp_path, **parts())
    (tmp_path / "copy").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "copy"))
    assert trial(path).id == trial(copy).id
    before = trial(path).id
    write(tmp_path, **parts(255 - GRAY))
    os.utime(path, ns=(1, 1))
    assert trial(path).id != before


def test_changed_file_is_refused_at_loading(tmp_path: Path) -> None:
    path = write(tmp_path, **parts())
    dataset = parse(path)
    write(tmp_path, **parts(255 - GRAY))
    with pytest.raises(CorruptDataError, match="has changed: its digest is"):
        dataset.load()
    with pytest.raises(SpecError, match=r"digest: .*mine\.npz has digest"):
        parse(path, digest="0" * 16)


def test_worker_needs_no_file_to_parse(tmp_path: Path) -> None:
    path = write(tmp_path, **parts())
    fields = parse(path).model_dump(mode="json")
    path.unlink()
    assert datasets.parse(fields).available == 6


# Errors --------------------------------------------------------------------------------------------------------------

NAN = np.full((6, 8, 8), np.nan, np.float32)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": GRAY}, r"needs the arrays train_images, train_labels, .* \(got a\)"),
        (parts(GRAY.astype(np.float32)), r"train_images: must be uint8 from 0 to 255 \(got float32\). Convert"),
        (parts(NAN), r"train_images: must be uint8 from 0 to 255 \(got float32 with NaN\)"),
        (parts(GRAY.reshape(6, 64)), r"train_images: must have shape .* \(got \(6, 64\)\)"),
        (parts(np.zeros((6, 2, 8, 8), np.uint8)), r"must have shape .* \(got \(6, 2, 8, 8\)\)"),
        (parts(labels=LABELS[:5]), r"train_labels: must be one integer per image, shape \(6,\) \(got int64 \(5,\)\)"),
        (parts(labels=LABELS.astype(float)), r"train_labels: must be one integer .* \(got float64 \(6,\)\)"),
        (parts(labels=LABELS - 1), r"train_labels: must be from 0 \(got -1\)"),
        (parts(labels=2 * LABELS), r"no training image of class 1. Number the classes 0, 1, 2, ..."),
        (parts(labels=0 * LABELS), r"no training image of at least two classes"),
        (parts(test_labels=LABELS + 1), r"class 3 is in the test labels only. Add training images."),
        (parts(test_images=GRAY[:, :4]), r"test images have shape \(1, 4, 8\), training images \(1, 8, 8\)"),
        ({**parts(), "train_labels": np.array([{}] * 6)}, r"not a readable .npz file: .*allow_pickle"),
    ],
)
def test_invalid_file_is_one_line(arrays: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=reason) as error:
        parse(write(tmp_path, **arrays))
    assert error.value.path == "path" and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04broken"])
def test_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(SpecError, match=r"not a readable \.npz file"):
        parse(tmp_path / "mine.npz")


def test_missing_and_relative_paths() -> None:
    with pytest.raises(SpecError, match=r"/nowhere\.npz is not a file\. Write one with np\.savez"):
        parse(Path("/nowhere.npz"))
    with pytest.raises(SpecError, match=r"path: must be absolute \(got mine\.npz\)"):
        parse(Path("mine.npz"))


# Split ---------------------------------------------------------------------------------------------------------------


def test_split_matches_a_worked_example() -> None:
    """Classes of 6, 3 and 1 images at a third: 2, 1 and 0 images, in all 3 of 10."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    images = np.arange(10)
    (left, left_labels), (held, held_labels) = split_stratified(images, labels, 1 / 3, seed=0)
    assert np.bincount(held_labels, minlength=3).tolist() == [2, 1, 0]
    assert sorted([*left, *held]) == list(range(10)) and (np.diff(left) > 0).all() and (np.diff(held) > 0).all()
    assert np.array_equal(labels[left], left_labels)
    again = split_stratified(images, labels, 1 / 3, seed=0)[1][0]
    other = split_stratified(images, labels, 1 / 3, seed=1)[1][0]
    assert np.array_equal(held, again) and not np.array_equal(held, other)


@pytest.mark.parametrize("fraction", [0.01, 0.95])
def test_split_without_images_is_refused(fraction: float) -> None:
    with pytest.raises(CorruptDataError, match=f"test_fraction: {fraction} leaves a part without images"):
        split_stratified(np.arange(10), np.array([0, 1] * 5), fraction, seed=0)


def test_file_without_test_images_is_split(tmp_path: Path) -> None:
    path = write(tmp_path, images=GRAY, labels=LABELS)
    dataset = parse(path, test_fraction=0.5)
    data = dataset.load()
    assert dataset.available == len(data.train_images) == len(data.test_images) == 3
    assert np.bincount(data.test_labels).tolist() == [1, 1, 1]
    with pytest.raises(SpecError, match=r"test_fraction: .* has no test images\. Set it\."):
        parse(path)
    with pytest.raises(SpecError, match=r"test_fraction: .* has test images\. Leave it out\."):
        parse(small_arrays(tmp_path), test_fraction=0.5)


def test_fields_of_the_split_are_in_the_id_only_if_used(tmp_path: Path) -> None:
    assert not {"test_fraction", "split_seed"} & parse(small_arrays(tmp_path)).model_dump().keys()
    path = write(tmp_path, images=GRAY, labels=LABELS)
    one, other = (parse(path, test_fraction=0.5, split_seed=seed) for seed in (0, 1))
    assert one.model_dump()["split_seed"] == 0 and one != other
    assert isinstance(one, Arrays)


def test_image_folder_without_test_is_split(tmp_path: Path) -> None:
    folder = small_imagefolder(tmp_path)
    fields = {"name": "imagefolder", "path": str(folder), "image_size": 16}
    whole = datasets.parse(fields)
    with pytest.raises(SpecError, match=r"test_fraction: .* has a folder test\. Leave it out\."):
        datasets.parse({**fields, "test_fraction": 0.3})
    shutil.rmtree(folder / "test")
    split = datasets.parse({**fields, "test_fraction": 0.34})
    data = split.load(tmp_path)
    assert split.available == len(data.train_images) < whole.available
    assert len(data.train_images) + len(data.test_images) == whole.available
    assert split.class_names(tmp_path) == whole.class_names(tmp_path) or split.classes == whole.classes
