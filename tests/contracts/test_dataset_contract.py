"""What every data set owes: uint8 images as declared, and a split that never changes."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from contract_settings import DATASET_NAMES, DATASETS, small

from trainables.data import Dataset, ImageData, datasets

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "datasets.json").read_text())

each_dataset = pytest.mark.parametrize("name", DATASET_NAMES)


def declared(name: str) -> Dataset:
    return datasets.parse(small(DATASETS, name))


@cache
def loaded(name: str) -> ImageData:
    return declared(name).load()


@each_dataset
def test_images_are_uint8_of_the_declared_shape(name: str) -> None:
    data, dataset = loaded(name), declared(name)
    channels, height, width = dataset.image_shape
    assert channels in {1, 3}
    assert data.train_images.shape == (dataset.train_size, channels, height, width)
    assert data.test_images.shape[1:] == (channels, height, width)
    assert data.train_images.dtype == data.test_images.dtype == np.uint8


@each_dataset
def test_images_use_the_whole_range(name: str) -> None:
    data = loaded(name)
    assert (data.train_images.min(), data.train_images.max()) == (0, 255)


@each_dataset
def test_labels_are_the_declared_classes(name: str) -> None:
    data, dataset = loaded(name), declared(name)
    assert data.classes == dataset.classes
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert labels.dtype == np.int64 and labels.shape == (len(images),)
        assert np.unique(labels).tolist() == list(range(dataset.classes))


@each_dataset
def test_split_is_stratified(name: str) -> None:
    """A class has the same share of the test set as of the training set, to within 1 %."""
    data = loaded(name)
    train, test = (np.bincount(labels) / len(labels) for labels in (data.train_labels, data.test_labels))
    assert np.abs(train - test).max() < 0.01


@each_dataset
@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "test_labels"])
def test_split_is_the_one_it_always_was(name: str, part: str) -> None:
    content = np.ascontiguousarray(getattr(loaded(name), part))
    assert hashlib.sha256(content.astype(content.dtype.newbyteorder("<")).tobytes()).hexdigest() == GOLDEN[name][part]


@each_dataset
def test_two_loads_are_equal(name: str) -> None:
    first, second = loaded(name), declared(name).load()
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(first, part), getattr(second, part))
