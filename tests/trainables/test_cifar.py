"""CIFAR-10 and CIFAR-100: the reader on small files in the published format, intact, damaged and malicious."""

from __future__ import annotations

import os
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.data import CorruptDataError, DataError, MissingDataError, datasets
from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_datasets import CIFAR_TRAIN, Serve, md5, python2_pickle, small_cifar, write_batches

each_cifar = pytest.mark.parametrize("name", ["cifar10", "cifar100"])

LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}


@each_cifar
def test_published_sizes_and_checksums(name: str) -> None:
    """They equal those of torchvision, which are widely used."""
    import torchvision

    dataset_class: Any = datasets[name]
    reference_class = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    assert (dataset_class.url, dataset_class.md5, dataset_class.folder) == (
        reference_class.url,
        reference_class.tgz_md5,
        reference_class.base_folder,
    )
    assert list(dataset_class.train_files.items()) == [tuple(entry) for entry in reference_class.train_list]
    assert list(dataset_class.test_files.items()) == [tuple(entry) for entry in reference_class.test_list]
    dataset = dataset_class()
    assert (dataset.train_size, dataset.image_shape) == (50_000, (3, 32, 32))
    assert dataset.classes == {"cifar10": 10, "cifar100": 100}[name]


@each_cifar
def test_images_and_labels_equal_those_of_torchvision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    small_cifar(monkeypatch, tmp_path, name)
    dataset_class: Any = datasets[name]
    reference_class = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    meta = python2_pickle(
        {reference_class.meta["key"]: [f"class {number}" for number in range(dataset_class.class_count)]}
    )
    (tmp_path / dataset_class.folder / reference_class.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(reference_class, "train_list", [list(item) for item in dataset_class.train_files.items()])
    monkeypatch.setattr(reference_class, "test_list", [list(item) for item in dataset_class.test_files.items()])
    monkeypatch.setattr(reference_class, "meta", {**reference_class.meta, "md5": md5(meta)})
    data = dataset_class().load(tmp_path)
    for images, labels, train in (
        (data.train_images, data.train_labels, True),
        (data.test_images, data.test_labels, False),
    ):
        reference = reference_class(tmp_path, train=train)
        assert np.array_equal(images.transpose(0, 2, 3, 1), reference.data)
        assert labels.tolist() == reference.targets


@each_cifar
def test_training_files_are_concatenated_in_order(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *train, test = small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse(name).load(tmp_path)
    assert np.array_equal(data.train_images.reshape(-1, 3072), np.concatenate([batch["data"] for batch in train]))
    assert data.train_labels.tolist() == [label for batch in train for label in batch[LABELS[name]]]
    assert np.array_equal(data.test_images.reshape(-1, 3072), test["data"])
    assert data.test_labels.tolist() == test[LABELS[name]]


def test_a_row_holds_the_red_green_and_blue_planes_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, "cifar100")
    row = (np.arange(3072) // 12).astype(np.uint8)
    content = python2_pickle({"data": np.stack([row] * 2), "fine_labels": [1, 0]})
    write_batches(monkeypatch, tmp_path, "cifar100", "train_files", {"train": content})
    monkeypatch.setattr(datasets["cifar100"], "train_images", 2)
    image = datasets.parse("cifar100").load(tmp_path).train_images[0]
    for channel, y, x in [(0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 5), (2, 31, 31)]:
        assert image[channel, y, x] == (1024 * channel + 32 * y + x) // 12


@each_cifar
def test_the_last_images_are_held_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, name)
    complete = datasets.parse(name).load(tmp_path)
    dataset = datasets.parse({"name": name, "validation": 30})
    data = dataset.load(tmp_path)
    assert dataset.train_size == len(data.train_images) == CIFAR_TRAIN - 30
    assert np.array_equal(data.train_images, complete.train_images[:-30])
    assert np.array_equal(data.validation_images, complete.train_images[-30:])
    assert np.array_equal(data.validation_labels, complete.train_labels[-30:])
    assert np.array_equal(data.test_images, complete.test_images)
    assert len(complete.validation_images) == len(complete.validation_labels) == 0


@pytest.mark.parametrize(
    ("name", "statistics", "mean", "std"),
    [
        ("cifar10", "adversarial", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", "standard", (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)),
        ("cifar100", "adversarial", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ],
)
def test_published_statistics(
    name: str, statistics: str, mean: object, std: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constants of the authors' loaders (facts about the paper, section 1.2)."""
    small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse({"name": name, "statistics": statistics}).load(tmp_path)
    device_data = to_device_data(data, 3, 32, torch.device("cpu"))
    assert (device_data.mean, device_data.std) == (mean, std)


@each_cifar
def test_statistics_are_those_of_the_training_images(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation images are not included."""
    small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse({"name": name, "validation": 150}).load(tmp_path)
    device_data = to_device_data(data, 3, 32, torch.device("cpu"))
    pixels = data.train_images / 255.0
    assert device_data.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert device_data.std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-12)


def test_published_statistics_need_three_channels() -> None:
    with pytest.raises(ValidationError) as error:
        TrialSpec(dataset={"name": "cifar10", "statistics": "adversarial"}, model="resnet8", sparsifier="dense")
    assert format_error(error.value) == ("dataset.statistics: adversarial has 3 channels, resnet8 needs 1. Use train.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "cifar10", "statistics": "standard"}, "dataset.statistics: "),
        (
            {"name": "cifar10", "validation": 50_000},
            "dataset.validation: must be less than the 50000 training images (got 50000)",
        ),
        ({"name": "cifar10", "validation": -1}, "dataset.validation: "),
    ],
    ids=str,
)
def test_invalid_fields_are_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        TrialSpec(dataset=fields, model="resnet18", sparsifier="dense")
    assert format_error(error.value).startswith(message)


# Missing and damaged files --------------------------------------------------------------------------------------------


def load_error(name: str, root: Path, kind: type[DataError]) -> str:
    with pytest.raises(kind) as error:
        datasets.parse(name).load(root)
    message = str(error.value)
    assert "\n" not in message and message.endswith(f"download it with: sparsweep data get {name} --data {root}")
    return message


@each_cifar
def test_a_missing_folder_is_an_error(name: str, tmp_path: Path) -> None:
    message = load_error(name, tmp_path, MissingDataError)
    assert message.startswith(f"{name}: no {datasets[name].folder} in {tmp_path}; ")  # type: ignore[attr-defined]
    assert issubclass(MissingDataError, FileNotFoundError)


def test_the_error_leaves_out_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSWEEP_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"download it with: sparsweep data get cifar10$"):
        datasets.parse("cifar10").load()


@each_cifar
def test_a_missing_file_is_named_in_the_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, name)
    cls: Any = datasets[name]
    file = tmp_path / cls.folder / list(cls.train_files)[-1]
    file.unlink()
    assert load_error(name, tmp_path, MissingDataError).startswith(f"{file} is missing; ")


@pytest.mark.parametrize("edit", [lambda content: content[:-100], lambda content: content[:-1] + b"!", lambda _: b""])
@each_cifar
def test_a_file_with_another_checksum_is_damaged(
    name: str, edit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truncated, changed by one byte, and empty. The file is not opened as a pickle."""
    small_cifar(monkeypatch, tmp_path, name)
    cls: Any = datasets[name]
    ((file, checksum),) = cls.test_files.items()
    path = tmp_path / cls.folder / file
    content = edit(path.read_bytes())
    path.write_bytes(content)
    message = load_error(name, tmp_path, CorruptDataError)
    assert message.startswith(f"{path} is damaged: its MD5 is {md5(content)}, not {checksum}; ")


class Malicious:
    """Object that creates a folder when Python's pickle module reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_function_named_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even if the checksum of the file is correct."""
    small_cifar(monkeypatch, tmp_path, "cifar10")
    content = pickle.dumps({"data": Malicious(tmp_path / "done"), "labels": [0]}, protocol=2)
    pickle.loads(content)
    assert (tmp_path / "done").is_dir()  # the pickle is malicious
    (tmp_path / "done").rmdir()
    write_batches(monkeypatch, tmp_path, "cifar10", "test_files", {"test_batch": content})
    message = load_error("cifar10", tmp_path, CorruptDataError)
    assert re.search(r"test_batch is damaged: it names (posix|nt)\.mkdir", message)
    assert not (tmp_path / "done").exists()


PIXELS = np.zeros((100, 3072), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        {"data": PIXELS},
        {"labels": [0] * 100},
        {"data": PIXELS, "labels": [0] * 99},
        {"data": PIXELS, "labels": [0] * 99 + [10]},
        {"data": PIXELS, "labels": [0] * 99 + [-1]},
        {"data": PIXELS, "labels": ["zero"] * 100},
        {"data": PIXELS[:, 1:], "labels": [0] * 100},
        {"data": PIXELS.astype(np.int16), "labels": [0] * 100},
        {"data": [0] * 100, "labels": [0] * 100},
        {"data": PIXELS[:0], "labels": []},
        [1, 2],
    ],
    ids=lambda content: " ".join(f"{key}" for key in content),
)
def test_a_file_with_invalid_content_is_damaged(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, "cifar10")
    write_batches(monkeypatch, tmp_path, "cifar10", "test_files", {"test_batch": python2_pickle(content)})
    assert "no images with labels below 10" in load_error("cifar10", tmp_path, CorruptDataError)


def test_too_few_images_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, "cifar10")
    monkeypatch.setattr(datasets["cifar10"], "train_images", 50_000)
    assert "have 200 images, not 50000" in load_error("cifar10", tmp_path, CorruptDataError)


# Download ------------------------------------------------------------------------------------------------------------


Publish = Callable[[str], Path]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Publish:
    """Return a function that serves a small data set at its URL and returns the archive on the server."""

    def publish_archive(name: str) -> Path:
        small_cifar(monkeypatch, tmp_path / "source", name)
        cls: Any = datasets[name]
        archive = tmp_path / "server" / Path(cls.url).name
        archive.parent.mkdir()
        with tarfile.open(archive, "w:gz") as file:
            file.add(tmp_path / "source" / cls.folder, cls.folder)
        monkeypatch.setattr(cls, "url", f"{serve(archive.parent)}/{archive.name}")
        monkeypatch.setattr(cls, "md5", md5(archive.read_bytes()))
        return archive

    return publish_archive


@each_cifar
def test_a_downloaded_data_set_can_be_loaded(name: str, publish: Publish, tmp_path: Path) -> None:
    publish(name)
    cls: Any = datasets[name]
    cls.fetch(tmp_path / "data")
    assert len(cls().load(tmp_path / "data").train_images) == CIFAR_TRAIN
    (tmp_path / "data" / cls.folder / next(iter(cls.train_files))).write_bytes(b"damaged")
    cls.fetch(tmp_path / "data")
    assert len(cls().load(tmp_path / "data").train_images) == CIFAR_TRAIN


def test_an_archive_with_another_checksum_is_rejected(publish: Publish, tmp_path: Path) -> None:
    archive = publish("cifar10")
    archive.write_bytes(archive.read_bytes()[:-1])
    cls: Any = datasets["cifar10"]
    with pytest.raises(DataError, match=r"cannot be downloaded to .*: File not found or corrupted") as error:
        cls.fetch(tmp_path / "data")
    assert str(error.value).startswith(cls.url) and "\n" not in str(error.value)
    assert not (tmp_path / "data" / cls.folder).exists()


def test_an_invalid_url_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    cls: Any = datasets["cifar10"]
    monkeypatch.setattr(cls, "url", f"{serve(tmp_path)}/nothing.tar.gz")
    with pytest.raises(DataError, match=r"nothing\.tar\.gz cannot be downloaded to .*: HTTP Error 404: File not found"):
        cls.fetch(tmp_path / "data")


# Class names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_class_names_are_read_from_the_metadata_file(name: str, tmp_path: Path) -> None:
    dataset = datasets.parse(name)
    numbers = tuple(f"class {label}" for label in range(dataset.classes))
    assert dataset.class_names(tmp_path) == numbers  # no metadata file
    names = [f"thing_{label}" for label in range(dataset.classes)]
    file, key = {"cifar10": ("batches.meta", "label_names"), "cifar100": ("meta", "fine_label_names")}[name]
    folder = tmp_path / type(dataset).folder
    folder.mkdir()
    for content, found in (({key: names}, tuple(names)), ({key: names[1:]}, numbers), ({}, numbers)):
        (folder / file).write_bytes(python2_pickle(content))
        assert dataset.class_names(tmp_path) == found
