"""CIFAR-10 and CIFAR-100: files in their true form through the real reader, whole, damaged and malicious."""

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
    """The same as torchvision's, which has downloaded them a million times."""
    import torchvision

    ours: Any = datasets[name]
    theirs = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    assert (ours.url, ours.md5, ours.folder) == (theirs.url, theirs.tgz_md5, theirs.base_folder)
    assert list(ours.train_files.items()) == [tuple(entry) for entry in theirs.train_list]
    assert list(ours.test_files.items()) == [tuple(entry) for entry in theirs.test_list]
    described = ours()
    assert (described.train_size, described.image_shape) == (50_000, (3, 32, 32))
    assert described.classes == {"cifar10": 10, "cifar100": 100}[name]


@each_cifar
def test_it_reads_what_torchvision_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    small_cifar(monkeypatch, tmp_path, name)
    ours: Any = datasets[name]
    theirs = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    meta = python2_pickle({theirs.meta["key"]: [f"class {number}" for number in range(ours.class_count)]})
    (tmp_path / ours.folder / theirs.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(theirs, "train_list", [list(item) for item in ours.train_files.items()])
    monkeypatch.setattr(theirs, "test_list", [list(item) for item in ours.test_files.items()])
    monkeypatch.setattr(theirs, "meta", {**theirs.meta, "md5": md5(meta)})
    data = ours().load(tmp_path)
    for images, labels, train in (
        (data.train_images, data.train_labels, True),
        (data.test_images, data.test_labels, False),
    ):
        reference = theirs(tmp_path, train=train)
        assert np.array_equal(images.transpose(0, 2, 3, 1), reference.data)
        assert labels.tolist() == reference.targets


@each_cifar
def test_files_come_one_after_the_other(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *train, test = small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse(name).load(tmp_path)
    assert np.array_equal(data.train_images.reshape(-1, 3072), np.concatenate([batch["data"] for batch in train]))
    assert data.train_labels.tolist() == [label for batch in train for label in batch[LABELS[name]]]
    assert np.array_equal(data.test_images.reshape(-1, 3072), test["data"])
    assert data.test_labels.tolist() == test[LABELS[name]]


def test_a_row_is_red_then_green_then_blue_each_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    whole = datasets.parse(name).load(tmp_path)
    described = datasets.parse({"name": name, "validation": 30})
    data = described.load(tmp_path)
    assert described.train_size == len(data.train_images) == CIFAR_TRAIN - 30
    assert np.array_equal(data.train_images, whole.train_images[:-30])
    assert np.array_equal(data.validation_images, whole.train_images[-30:])
    assert np.array_equal(data.validation_labels, whole.train_labels[-30:])
    assert np.array_equal(data.test_images, whole.test_images)
    assert len(whole.validation_images) == len(whole.validation_labels) == 0


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
    """Paper, section 1.2 of the facts: the constants of the authors' loaders."""
    small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse({"name": name, "statistics": statistics}).load(tmp_path)
    placed = to_device_data(data, 3, 32, torch.device("cpu"))
    assert (placed.mean, placed.std) == (mean, std)


@each_cifar
def test_statistics_are_those_of_what_is_trained_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images held out are not looked at."""
    small_cifar(monkeypatch, tmp_path, name)
    data = datasets.parse({"name": name, "validation": 150}).load(tmp_path)
    placed = to_device_data(data, 3, 32, torch.device("cpu"))
    pixels = data.train_images / 255.0
    assert placed.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert placed.std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-12)


def test_published_statistics_are_for_three_channels() -> None:
    with pytest.raises(ValidationError) as error:
        TrialSpec(dataset={"name": "cifar10", "statistics": "adversarial"}, model="resnet8", sparsifier="dense")
    assert format_error(error.value) == ("dataset.statistics: adversarial has 3 channels, resnet8 needs 1. Use train.")


@pytest.mark.parametrize(
    ("fields", "said"),
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
def test_fields_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        TrialSpec(dataset=fields, model="resnet18", sparsifier="dense")
    assert format_error(error.value).startswith(said)


# What is missing or damaged ------------------------------------------------------------------------------------------


def complaint(name: str, root: Path, kind: type[DataError]) -> str:
    with pytest.raises(kind) as error:
        datasets.parse(name).load(root)
    said = str(error.value)
    assert "\n" not in said and said.endswith(f"download it with: sparsweep data get {name} --data {root}")
    return said


@each_cifar
def test_missing(name: str, tmp_path: Path) -> None:
    said = complaint(name, tmp_path, MissingDataError)
    assert said.startswith(f"{name}: no {datasets[name].folder} in {tmp_path}; ")  # type: ignore[attr-defined]
    assert issubclass(MissingDataError, FileNotFoundError)


def test_the_remedy_names_no_folder_that_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSWEEP_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"download it with: sparsweep data get cifar10$"):
        datasets.parse("cifar10").load()


@each_cifar
def test_a_missing_file_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, name)
    cls: Any = datasets[name]
    file = tmp_path / cls.folder / list(cls.train_files)[-1]
    file.unlink()
    assert complaint(name, tmp_path, MissingDataError).startswith(f"{file} is missing; ")


@pytest.mark.parametrize("edit", [lambda content: content[:-100], lambda content: content[:-1] + b"!", lambda _: b""])
@each_cifar
def test_a_file_of_another_checksum_is_damaged(
    name: str, edit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truncated, one byte changed, empty: it is not even opened as a pickle."""
    small_cifar(monkeypatch, tmp_path, name)
    cls: Any = datasets[name]
    ((file, checksum),) = cls.test_files.items()
    path = tmp_path / cls.folder / file
    content = edit(path.read_bytes())
    path.write_bytes(content)
    said = complaint(name, tmp_path, CorruptDataError)
    assert said.startswith(f"{path} is damaged: its MD5 is {md5(content)}, not {checksum}; ")


class Malicious:
    """Unpickled by Python's own reader, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_that_a_file_names_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if its checksum were the published one."""
    small_cifar(monkeypatch, tmp_path, "cifar10")
    content = pickle.dumps({"data": Malicious(tmp_path / "done"), "labels": [0]}, protocol=2)
    pickle.loads(content)
    assert (tmp_path / "done").is_dir()  # it is malicious
    (tmp_path / "done").rmdir()
    write_batches(monkeypatch, tmp_path, "cifar10", "test_files", {"test_batch": content})
    said = complaint("cifar10", tmp_path, CorruptDataError)
    assert re.search(r"test_batch is damaged: it names (posix|nt)\.mkdir", said)
    assert not (tmp_path / "done").exists()


WHOLE = np.zeros((100, 3072), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        {"data": WHOLE},
        {"labels": [0] * 100},
        {"data": WHOLE, "labels": [0] * 99},
        {"data": WHOLE, "labels": [0] * 99 + [10]},
        {"data": WHOLE, "labels": [0] * 99 + [-1]},
        {"data": WHOLE, "labels": ["zero"] * 100},
        {"data": WHOLE[:, 1:], "labels": [0] * 100},
        {"data": WHOLE.astype(np.int16), "labels": [0] * 100},
        {"data": [0] * 100, "labels": [0] * 100},
        {"data": WHOLE[:0], "labels": []},
        [1, 2],
    ],
    ids=lambda content: " ".join(f"{key}" for key in content),
)
def test_a_file_with_other_content_is_damaged(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, "cifar10")
    write_batches(monkeypatch, tmp_path, "cifar10", "test_files", {"test_batch": python2_pickle(content)})
    assert "no images with labels below 10" in complaint("cifar10", tmp_path, CorruptDataError)


def test_too_few_images_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cifar(monkeypatch, tmp_path, "cifar10")
    monkeypatch.setattr(datasets["cifar10"], "train_images", 50_000)
    assert "have 200 images, not 50000" in complaint("cifar10", tmp_path, CorruptDataError)


# Fetching ------------------------------------------------------------------------------------------------------------


Publish = Callable[[str], Path]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Publish:
    """Put a small data set where its address leads to; gives the archive on the server."""

    def put(name: str) -> Path:
        small_cifar(monkeypatch, tmp_path / "source", name)
        cls: Any = datasets[name]
        archive = tmp_path / "server" / Path(cls.url).name
        archive.parent.mkdir()
        with tarfile.open(archive, "w:gz") as file:
            file.add(tmp_path / "source" / cls.folder, cls.folder)
        monkeypatch.setattr(cls, "url", f"{serve(archive.parent)}/{archive.name}")
        monkeypatch.setattr(cls, "md5", md5(archive.read_bytes()))
        return archive

    return put


@each_cifar
def test_fetched_is_there(name: str, publish: Publish, tmp_path: Path) -> None:
    publish(name)
    cls: Any = datasets[name]
    cls.fetch(tmp_path / "data")
    assert len(cls().load(tmp_path / "data").train_images) == CIFAR_TRAIN
    (tmp_path / "data" / cls.folder / next(iter(cls.train_files))).write_bytes(b"damaged")
    cls.fetch(tmp_path / "data")
    assert len(cls().load(tmp_path / "data").train_images) == CIFAR_TRAIN


def test_an_archive_of_another_checksum_is_refused(publish: Publish, tmp_path: Path) -> None:
    archive = publish("cifar10")
    archive.write_bytes(archive.read_bytes()[:-1])
    cls: Any = datasets["cifar10"]
    with pytest.raises(DataError, match=r"cannot be downloaded to .*: File not found or corrupted") as error:
        cls.fetch(tmp_path / "data")
    assert str(error.value).startswith(cls.url) and "\n" not in str(error.value)
    assert not (tmp_path / "data" / cls.folder).exists()


def test_an_address_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    cls: Any = datasets["cifar10"]
    monkeypatch.setattr(cls, "url", f"{serve(tmp_path)}/nothing.tar.gz")
    with pytest.raises(DataError, match=r"nothing\.tar\.gz cannot be downloaded to .*: HTTP Error 404: File not found"):
        cls.fetch(tmp_path / "data")


# Names of classes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_classes_have_the_names_that_come_with_the_images(name: str, tmp_path: Path) -> None:
    dataset = datasets.parse(name)
    numbers = tuple(f"class {label}" for label in range(dataset.classes))
    assert dataset.class_names(tmp_path) == numbers  # without a file
    names = [f"thing_{label}" for label in range(dataset.classes)]
    file, key = {"cifar10": ("batches.meta", "label_names"), "cifar100": ("meta", "fine_label_names")}[name]
    folder = tmp_path / type(dataset).folder
    folder.mkdir()
    for content, found in (({key: names}, tuple(names)), ({key: names[1:]}, numbers), ({}, numbers)):
        (folder / file).write_bytes(python2_pickle(content))
        assert dataset.class_names(tmp_path) == found
