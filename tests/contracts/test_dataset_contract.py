"""Contract of datasets: uint8 images as declared, a split that never changes, and one-line errors for missing files.

Datasets stored in files are read by their real code, from small files in the published format.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsweep.trainables.data import Dataset, ImageData, MissingDataError, datasets
from sparsweep.trainables.data.download import DownloadableDataset
from support.contract_settings import DATASET_NAMES, DATASETS, small
from support.tiny_datasets import WRITERS

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "datasets.json").read_text())

each_dataset = pytest.mark.parametrize("name", DATASET_NAMES)

Declared = Callable[..., Dataset]
Loaded = Callable[..., ImageData]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write small files of all datasets. Return their folder."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        for write in WRITERS.values():
            write(patch, folder)
        yield folder


@pytest.fixture(scope="module")
def declared(root: Path) -> Declared:
    def parse(name: str, **changes: Any) -> Dataset:
        fields = small(DATASETS, name) | changes
        return datasets.parse({**fields, "path": str(root / fields["path"])} if "path" in fields else fields)

    return parse


@pytest.fixture(scope="module")
def loaded(declared: Declared, root: Path) -> Loaded:
    return cache(lambda name, **changes: declared(name, **changes).load(root))


@each_dataset
def test_images_are_uint8_of_the_declared_shape(name: str, declared: Declared, loaded: Loaded) -> None:
    data, dataset = loaded(name), declared(name)
    channels, height, width = dataset.image_shape
    assert channels in {1, 3}
    assert data.train_images.shape == (dataset.train_size, channels, height, width)
    assert data.test_images.shape[1:] == data.validation_images.shape[1:] == (channels, height, width)
    assert data.train_images.dtype == data.test_images.dtype == data.validation_images.dtype == np.uint8


@each_dataset
def test_images_use_the_full_range(name: str, loaded: Loaded) -> None:
    data = loaded(name)
    assert (data.train_images.min(), data.train_images.max()) == (0, 255)


@each_dataset
def test_labels_are_the_declared_classes(name: str, declared: Declared, loaded: Loaded) -> None:
    data, dataset = loaded(name), declared(name)
    assert data.classes == dataset.classes
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert labels.dtype == np.int64 and labels.shape == (len(images),)
        assert np.unique(labels).tolist() == list(range(dataset.classes))


@each_dataset
def test_split_is_stratified(name: str, loaded: Loaded) -> None:
    """The shares of a class in the test set and in the training set differ by less than 1 %."""
    data = loaded(name)
    train, test = (np.bincount(labels) / len(labels) for labels in (data.train_labels, data.test_labels))
    assert np.abs(train - test).max() < 0.01


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "test_labels"])
def test_split_never_changes(name: str, part: str, loaded: Loaded) -> None:
    content = np.ascontiguousarray(getattr(loaded(name), part))
    assert hashlib.sha256(content.astype(content.dtype.newbyteorder("<")).tobytes()).hexdigest() == GOLDEN[name][part]


@each_dataset
def test_two_loads_are_equal(name: str, declared: Declared, loaded: Loaded, root: Path) -> None:
    first, second = loaded(name, validation=3), declared(name, validation=3).load(root)
    for part in ("train_images", "train_labels", "test_images", "test_labels", "validation_images"):
        assert np.array_equal(getattr(first, part), getattr(second, part))


@each_dataset
def test_validation_images_are_not_in_the_training_set(name: str, declared: Declared, loaded: Loaded) -> None:
    """Both parts together are the full training set, each image with its label. The test set does not change."""
    full, data = loaded(name), loaded(name, validation=5)
    assert declared(name, validation=5).train_size == len(data.train_images) == len(full.train_images) - 5
    assert len(data.validation_images) == len(data.validation_labels) == 5 and data.validation_labels.dtype == np.int64
    train, validation = (samples(data, part) for part in ("train", "validation"))
    assert train + validation == samples(full, "train")
    assert np.array_equal(data.test_images, full.test_images) and np.array_equal(data.test_labels, full.test_labels)
    assert len(full.validation_images) == len(full.validation_labels) == 0


def samples(data: ImageData, part: str) -> Counter[tuple[bytes, int]]:
    images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
    return Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


@each_dataset
def test_arrays_are_contiguous(name: str, loaded: Loaded) -> None:
    """Ray's object store shares plain, contiguous arrays without a copy."""
    for part in ("train_images", "train_labels", "test_images", "test_labels", "validation_images"):
        array = getattr(loaded(name, validation=3), part)
        assert type(array) is np.ndarray and array.flags.c_contiguous


@pytest.mark.parametrize("name", [name for name in DATASET_NAMES if issubclass(datasets[name], DownloadableDataset)])
def test_missing_files_are_a_one_line_error_with_the_download_command(
    name: str, declared: Declared, tmp_path: Path
) -> None:
    with pytest.raises(MissingDataError) as error:
        declared(name).load(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{name}: no ") and "\n" not in message
    assert message.endswith(f"download it with: sparsweep data get {name} --data {tmp_path}")
