"""TinyImageNet: the reader on small folders in the published layout, complete and damaged."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparsweep.trainables.data import CorruptDataError, DataError, ImageData, MissingDataError, datasets, image_cache
from sparsweep.trainables.data.splits import split_permuted
from sparsweep.trainables.pipeline.device_data import to_device_data
from support.tiny_datasets import TINY_CLASSES, TINY_PER_CLASS, TINY_TEST, Serve, md5, small_tinyimagenet


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return small_tinyimagenet(monkeypatch, tmp_path)


def load(root: Path, **fields: Any) -> ImageData:
    return datasets.parse({"name": "tinyimagenet", **fields}).load(root)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def test_published_sizes() -> None:
    dataset = datasets.parse("tinyimagenet")
    assert (dataset.train_size, dataset.classes, dataset.image_shape) == (100_000, 200, (3, 64, 64))


def test_training_images_are_sorted_by_class_and_file_name(folder: Path, tmp_path: Path) -> None:
    """Classes are sorted by WordNet id, whatever the order in ``wnids.txt``."""
    data = load(tmp_path)
    paths = sorted((folder / "train").glob("*/images/*.JPEG"))
    assert len(paths) == TINY_CLASSES * TINY_PER_CLASS
    assert np.array_equal(data.train_images, np.stack([pixels(path) for path in paths]))
    assert data.train_labels.tolist() == [number for number in range(TINY_CLASSES) for _ in range(TINY_PER_CLASS)]


def test_test_set_is_the_official_validation_set(folder: Path, tmp_path: Path) -> None:
    data = load(tmp_path)
    images = [pixels(folder / "val" / "images" / f"val_{index}.JPEG") for index in range(TINY_TEST)]
    assert np.array_equal(data.test_images, np.stack(images))
    assert data.test_labels.tolist() == [(index + 3) % TINY_CLASSES for index in range(TINY_TEST)]


def test_gray_images_become_rgb_by_repetition(folder: Path, tmp_path: Path) -> None:
    path = sorted((folder / "train").glob("*/images/*.JPEG"))[TINY_PER_CLASS + 2]
    with Image.open(path) as image:
        assert image.mode == "L"
        gray = np.asarray(image)
    assert (load(tmp_path).train_images[TINY_PER_CLASS + 2] == gray).all() and len(np.unique(gray)) > 10


@pytest.mark.parametrize("count", [1, 10])
def test_validation_images_follow_the_authors_permutation(count: int, folder: Path, tmp_path: Path) -> None:
    """The authors' loader draws from the global generator. Both parts keep the order of the images."""
    complete, data = load(tmp_path), load(tmp_path, validation=count)
    state = np.random.get_state()
    np.random.seed(10)
    permutation = np.random.permutation(len(complete.train_images))
    np.random.set_state(state)
    validation = sorted(permutation[len(permutation) - count :])
    train = sorted(set(range(len(permutation))) - set(validation))
    assert np.array_equal(data.validation_images, complete.train_images[validation])
    assert np.array_equal(data.validation_labels, complete.train_labels[validation])
    assert np.array_equal(data.train_images, complete.train_images[train])
    assert np.array_equal(data.train_labels, complete.train_labels[train])
    assert np.array_equal(data.test_images, complete.test_images)


def test_validation_split_of_10000_images_never_changes() -> None:
    """The test pins the first five indices. Every class has more than 20 validation images."""
    _, (indices, labels) = split_permuted(np.arange(100_000), np.arange(100_000) // 500, 10_000)
    assert len(indices) == 10_000 and indices[:5].tolist() == [2, 19, 21, 50, 86]
    assert np.bincount(labels, minlength=200).min() > 20


def test_published_statistics_are_used(folder: Path, tmp_path: Path) -> None:
    device_data = to_device_data(load(tmp_path, statistics="standard"), 3, 32, torch.device("cpu"))
    assert (device_data.mean, device_data.std) == ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))


def test_images_are_decoded_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(tmp_path)

    def never(*arguments: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_cache, "decode_image", never)
    second = load(tmp_path)
    assert np.array_equal(first.train_images, second.train_images) and not second.train_images.flags.writeable
    assert type(second.train_images) is np.ndarray


# Missing and damaged files -------------------------------------------------------------------------------------------


def error_message(root: Path) -> str:
    with pytest.raises(CorruptDataError) as error:
        load(root)
    message = str(error.value)
    assert "\n" not in message and message.endswith(
        f"; download it with: sparsweep data get tinyimagenet --data {root}"
    )
    return message


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=rf"no tiny-imagenet-200 in {tmp_path}; download it with: sparsweep data get"
    ):
        load(tmp_path)


def test_missing_class_is_an_error(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "train" / "n01443538")
    assert f"{folder}/train is damaged: it has 3 classes, not 4" in error_message(tmp_path)


def test_missing_training_image_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "n01443538" / "images" / "n01443538_4.JPEG").unlink()
    assert f"{folder}/train/n01443538 is damaged: it has 5 images, not 6" in error_message(tmp_path)


def test_missing_test_image_is_an_error_with_its_path(folder: Path, tmp_path: Path) -> None:
    path = folder / "val" / "images" / "val_3.JPEG"
    path.unlink()
    assert f"{path} is missing" in error_message(tmp_path)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "it has 7 lines, not 8"),
        (lambda text: text.replace("n01443537", "n09999999"), "'n09999999'"),
        (lambda text: text.replace("\t", " "), "not enough values to unpack"),
    ],
)
def test_damaged_annotations_are_an_error_with_their_path(
    edit: Any, problem: str, folder: Path, tmp_path: Path
) -> None:
    path = folder / "val" / "val_annotations.txt"
    path.write_text(edit(path.read_text()))
    message = error_message(tmp_path)
    assert f"{path} is damaged: " in message and problem in message


def test_missing_annotations_are_an_error_with_their_path(folder: Path, tmp_path: Path) -> None:
    (folder / "val" / "val_annotations.txt").unlink()
    assert "val_annotations.txt is damaged: " in error_message(tmp_path)


@pytest.mark.parametrize("edit", [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"no picture"])
def test_image_that_cannot_be_decoded_is_an_error_with_its_path(edit: Any, folder: Path, tmp_path: Path) -> None:
    path = folder / "train" / "n01443539" / "images" / "n01443539_1.JPEG"
    path.write_bytes(edit(path.read_bytes()))
    assert f"{path} cannot be decoded: " in error_message(tmp_path)


# Download ------------------------------------------------------------------------------------------------------------


def test_downloaded_data_is_loaded_and_repaired(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    cls: Any = datasets["tinyimagenet"]
    expected = load(tmp_path)
    archive = tmp_path / "server" / "tiny-imagenet-200.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(tmp_path))
    monkeypatch.setattr(cls, "url", f"{serve(archive.parent)}/{archive.name}")
    monkeypatch.setattr(cls, "md5", md5(archive.read_bytes()))
    root = tmp_path / "data"
    cls.fetch(root)
    assert np.array_equal(load(root).train_images, expected.train_images)

    image = root / cls.folder / "train" / "n01443539" / "images" / "n01443539_1.JPEG"
    image.write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be decoded"):
        load(root)
    cls.fetch(root)
    assert np.array_equal(load(root).train_images, expected.train_images)


def test_class_name_is_the_first_of_its_synonyms(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.parse("tinyimagenet")
    assert dataset.class_names(tmp_path)[1] == "class 1"
    rows = [f"n0{1443537 + number}\tthing {number}, synonym" for number in reversed(range(TINY_CLASSES))]
    (folder / "words.txt").write_text("\n".join(rows))
    assert dataset.class_names(tmp_path) == tuple(f"thing {number}" for number in range(TINY_CLASSES))
