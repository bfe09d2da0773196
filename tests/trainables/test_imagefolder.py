"""The imagefolder data set: reading, identity, and invalid folders."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sparsweep.trainables.data import CorruptDataError, MissingDataError, datasets
from sparsweep.trainables.data.image_files import find_images
from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.partial import ScoringSpec, SnapshotSpec
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_datasets import FOLDER_CLASSES, FOLDER_TEST, FOLDER_TRAIN, small_imagefolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_imagefolder(tmp_path)


def parsed_dataset(folder: Path | str, **fields: Any) -> Any:
    return datasets.parse({"name": "imagefolder", "path": str(folder), "image_size": 16, **fields})


def trial(folder: Path | str, **fields: Any) -> TrialSpec:
    dataset = {"name": "imagefolder", "path": str(folder), "image_size": 16, **fields}
    return TrialSpec(dataset=dataset, model="resnet18", sparsifier="dense")


def runs(spec: TrialSpec) -> list[Any]:
    """Return runs of every type that depend on the data set of ``spec``."""
    corrupted = spec.replace(difficulty={"name": "corruption", "types": "named3"})
    return [
        ScoringSpec.of(spec, 0, 1, "el2n"),
        SnapshotSpec(trial=spec, epochs=1),
        corrupted,
        *corrupted.prerequisites(),
    ]


def spec_error(folder: Path | str, **fields: Any) -> str:
    with pytest.raises(ValidationError) as error:
        trial(folder, **fields)
    message = format_error(error.value)
    assert "\n" not in message
    return message


def test_sizes_are_counted_from_the_files(folder: Path) -> None:
    """Hidden files and files without an image suffix are not counted."""
    dataset = parsed_dataset(folder, image_size=24)
    assert (dataset.train_size, dataset.classes, dataset.image_shape) == (15, 3, (3, 24, 24))


def test_images_are_ordered_by_class_and_file_name(folder: Path, tmp_path: Path) -> None:
    data = parsed_dataset(folder).load(tmp_path)
    assert data.train_images.shape == (3 * FOLDER_TRAIN, 3, 16, 16) and data.test_images.shape[0] == 3 * FOLDER_TEST
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 and data.train_labels.dtype == np.int64
    assert data.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    with Image.open(folder / "test" / FOLDER_CLASSES[2] / "0.png") as image:
        assert np.array_equal(data.test_images[6], np.asarray(image).transpose(2, 0, 1))


def test_class_names_are_those_of_the_folders(folder: Path) -> None:
    dataset = parsed_dataset(folder)
    assert dataset.class_names() == FOLDER_CLASSES
    shutil.rmtree(folder)
    assert dataset.class_names() == ("class 0", "class 1", "class 2")


def test_an_image_is_scaled_to_its_shorter_side_and_center_cropped(tmp_path: Path) -> None:
    """At 48x16 the black outer thirds are cropped. The same holds if the rest is scaled by half."""
    gray = np.zeros((16, 48), np.uint8)
    gray[:, 16:32] = 200
    for part in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / "wide" / part / name).mkdir(parents=True)
            Image.fromarray(gray).save(tmp_path / "wide" / part / name / "a.png")
            Image.fromarray(gray.T).save(tmp_path / "wide" / part / name / "b.png")
        Image.new("L", (16, 16)).save(tmp_path / "wide" / part / "two" / "black.png")
    data, halved = (parsed_dataset(tmp_path / "wide", image_size=size).load(tmp_path) for size in (16, 8))
    assert (data.train_images[:-1] == 200).all() and not data.train_images[-1].any()
    assert (halved.train_images[:-1, :, 1:-1, 1:-1] == 200).all()


def test_scaling_is_bilinear(tmp_path: Path) -> None:
    """A gray ramp 0, 4, 8, ... stays a ramp. At half size each pixel is the mean of 2x2 pixels."""
    ramp = np.tile((4 * np.arange(32)).astype(np.uint8), (32, 1))
    for part in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / "ramp" / part / name).mkdir(parents=True)
            Image.fromarray(ramp).save(tmp_path / "ramp" / part / name / "a.png")
    image = parsed_dataset(tmp_path / "ramp").load(tmp_path).train_images[0, 0]
    assert (image[:, 1:-1] == 4 * (2 * np.arange(1, 15)) + 2).all()


def test_validation_images_come_from_several_classes(folder: Path, tmp_path: Path) -> None:
    unsplit, data = parsed_dataset(folder).load(tmp_path), parsed_dataset(folder, validation=6).load(tmp_path)
    assert parsed_dataset(folder, validation=6).train_size == len(data.train_images) == 9
    combined = np.concatenate([data.train_images, data.validation_images])
    assert sorted(image.tobytes() for image in combined) == sorted(image.tobytes() for image in unsplit.train_images)
    assert len(set(data.validation_labels.tolist())) > 1


# Identity ------------------------------------------------------------------------------------------------------------


def test_the_path_is_not_in_the_id(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    assert trial(folder).id == trial(tmp_path / "moved").id
    for one, other in zip(runs(trial(folder)), runs(trial(tmp_path / "moved")), strict=True):
        assert type(one) is type(other) and one.id == other.id
    assert trial(folder).dataset.model_dump()["path"] == str(folder)


@pytest.mark.parametrize("fields", [{"image_size": 17}, {"validation": 1}], ids=str)
def test_the_other_fields_are_in_the_id(fields: dict[str, Any], folder: Path) -> None:
    assert trial(folder, **fields).id != trial(folder).id


@pytest.mark.parametrize("change", ["grown", "renamed", "added", "removed"])
def test_other_files_are_another_data_set(change: str, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    file = other / "test" / "dog" / "0.png"
    if change == "grown":
        file.write_bytes(file.read_bytes() + b"\0")
    elif change == "renamed":
        file.rename(file.with_name("5.png"))
    elif change == "added":
        shutil.copy(file, file.with_name("7.png"))
    else:
        file.unlink()
    assert trial(other).id != trial(folder).id


def test_other_files_are_not_in_the_id(folder: Path, tmp_path: Path) -> None:
    before = trial(folder).id
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "train" / "cat" / "more.txt").write_text("notes")
    assert trial(tmp_path / "other").id == before


def test_a_stored_spec_is_read_without_the_folder(folder: Path) -> None:
    """A worker on another node reads the spec without the folder. It receives the images."""
    spec = trial(folder)
    text = to_json(spec)
    shutil.rmtree(folder)
    again = from_json(text)
    assert again == spec and again.id == spec.id and again.trained_trial.num_samples == 15


def test_a_tilde_in_the_path_is_expanded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trial("~/pictures").id == trial(folder).id
    assert len(parsed_dataset("~/pictures").load(tmp_path).train_images) == 15


# Invalid folders -----------------------------------------------------------------------------------------------------


def test_a_relative_path_is_rejected() -> None:
    assert spec_error("pictures") == ("dataset.path: must be absolute (got pictures). Start it with / or ~.")


def test_a_missing_folder_is_named_in_the_error(tmp_path: Path) -> None:
    assert spec_error(tmp_path / "none") == (
        f"dataset.path: {tmp_path}/none/train is not a folder. Put images (.bmp, .jpeg, .jpg, .pgm, .png, .ppm, "
        ".tif, .tiff, .webp) into train/CLASS and test/CLASS."
    )


def test_train_and_test_need_the_same_classes(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "eel")
    message = spec_error(folder)
    assert message.endswith("class eel is in train but not in test. Both need the same classes.")
    (folder / "test" / "eel").mkdir()
    assert spec_error(folder).endswith(
        "test/eel has no image that ends in .bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp"
    )


def test_a_class_in_test_only_is_rejected(folder: Path) -> None:
    shutil.copytree(folder / "test" / "eel", folder / "test" / "fox")
    assert spec_error(folder).endswith("class fox is in test but not in train. Both need the same classes.")


def test_a_folder_without_classes_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty" / "train").mkdir(parents=True)
    assert spec_error(tmp_path / "empty").endswith("empty/train has no class folders")


def test_a_single_class_is_rejected(folder: Path) -> None:
    """The path is one level too high, or the images have a single class, which every network predicts correctly."""
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "cat"), shutil.rmtree(folder / part / "eel")
    assert spec_error(folder) == (
        f"dataset.path: {folder}: at least two classes are needed (got only dog). "
        "Put the images of each class into its own folders, train/CLASS and test/CLASS."
    )


def test_images_of_a_single_color_are_rejected(folder: Path, tmp_path: Path) -> None:
    """If all images have one color, the standard deviation is 0 in every channel and nothing can be learned."""
    for path in find_images(folder / "train").images.values():
        Image.new("RGB", (16, 16), (90, 20, 0)).save(path, "PNG")
    with pytest.raises(CorruptDataError, match=r"/train: all pixels have the same color\. Replace the images\.$"):
        parsed_dataset(folder).load(tmp_path)
    shutil.copytree(folder, tmp_path / "other")
    Image.new("RGB", (16, 16), (91, 20, 0)).save(tmp_path / "other" / path.relative_to(folder), "PNG")
    data = to_device_data(parsed_dataset(tmp_path / "other").load(tmp_path), 3, 16, torch.device("cpu"))
    assert data.std[0] > 0 and data.std[1:] == (1.0, 1.0), "a constant channel must not be divided by 0"


@pytest.mark.parametrize("relative_path", ["train/cat/caf\udce9.png", "test/caf\udce9/0.png"])
def test_a_name_that_is_not_utf8_is_rejected(relative_path: str, folder: Path) -> None:
    (folder / relative_path).parent.mkdir(exist_ok=True)
    shutil.copy(folder / "train/cat/0.png", folder / relative_path)
    message = spec_error(folder)
    assert message.encode() and re.search(r"a name is not UTF-8 \(got caf\\xe9(\.png)?\)\. Rename the file\.$", message)


def test_the_unicode_form_of_a_name_does_not_matter(folder: Path, tmp_path: Path) -> None:
    """A folder copied from a Mac, where file names are decomposed, is the same data set."""
    for part in ("train", "test"):
        (folder / part / "cat").rename(folder / part / "caf\u00e9")
    shutil.copytree(folder, tmp_path / "mac")
    before = trial(folder).id
    (tmp_path / "mac" / "test" / "caf\u00e9").rename(tmp_path / "mac" / "test" / "cafe\u0301")
    assert trial(tmp_path / "mac").id == before
    assert len(parsed_dataset(tmp_path / "mac").load(tmp_path).test_images) == 9
    shutil.move(tmp_path / "mac", tmp_path / "both")
    shutil.copytree(folder / "test" / "caf\u00e9", tmp_path / "both" / "test" / "caf\u00e9")
    assert "two classes have the name 'caf\u00e9' in different Unicode forms. Merge them." in spec_error(
        tmp_path / "both"
    )


def test_skipped_files_are_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "val").mkdir(), (folder / ".git").mkdir()
    shutil.copy(folder / "train/cat/0.png", folder / "train/loose.png")
    shutil.copy(folder / "train/cat/0.png", folder / "train/cat/film.mp4")
    (folder / "test" / "dog" / "._0.png").touch()
    trial(folder), trial(folder)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        f"{folder}: 4 skipped: train/loose.png, val/, train/cat/film.mp4 and 1 more. Image files end in"
    )


def test_images_in_subfolders_belong_to_the_class(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "cat" / "second").mkdir()
    Image.new("RGB", (16, 16), "red").save(folder / "train" / "cat" / "second" / "9.webp", lossless=True)
    dataset = parsed_dataset(folder)
    assert dataset.available == 16
    data = dataset.load(tmp_path)
    assert data.train_labels.tolist() == [0] * 6 + [1] * 5 + [2] * 5
    assert (data.train_images[5].reshape(3, -1).T == [255, 0, 0]).all()


def test_a_given_digest_must_match_the_files(folder: Path) -> None:
    digest = trial(folder).dataset.model_dump()["digest"]
    assert trial(folder, digest=digest).id == trial(folder).id
    message = spec_error(folder, digest="0" * 16)
    assert message == f"dataset.digest: the files in {folder} have digest {digest} (got {'0' * 16})"


@pytest.mark.parametrize("fields", [{"image_size": 0}, {"validation": 15}, {"digest": "none"}, {"size": 3}], ids=str)
def test_invalid_fields_are_rejected(fields: dict[str, Any], folder: Path) -> None:
    assert spec_error(folder, **fields).startswith("dataset")


def test_a_changed_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    dataset = parsed_dataset(folder)
    file = folder / "train" / "cat" / "0.png"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(
        CorruptDataError, match=rf"{folder} has changed: .* not the trial's {dataset.digest}; restore [^\n]*$"
    ):
        dataset.load(tmp_path)


def test_a_deleted_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    dataset = parsed_dataset(folder)
    shutil.rmtree(folder)
    with pytest.raises(MissingDataError, match=rf"^{folder}/train is not a folder\. [^\n]*$"):
        dataset.load(tmp_path)


def test_an_image_that_cannot_be_decoded_is_named_in_the_error(folder: Path, tmp_path: Path) -> None:
    file = folder / "train" / "cat" / "0.png"
    file.write_bytes(b"no picture, this")
    shutil.copytree(folder, tmp_path / "damaged")
    with pytest.raises(
        CorruptDataError, match=r"damaged/train/cat/0\.png cannot be decoded: .*; replace or remove it$"
    ):
        parsed_dataset(tmp_path / "damaged").load(tmp_path)


def test_a_rewritten_image_is_decoded_again(folder: Path, tmp_path: Path) -> None:
    """This holds for a file of the same size, where the id stays the same. The cache is never older than the file."""
    dataset = parsed_dataset(folder)
    before = dataset.load(tmp_path).train_images.copy()
    file = folder / "train" / "cat" / "0.png"
    size = file.stat().st_size
    Image.new("RGB", (16, 16)).save(file)
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    os.utime(file, (1, 1))
    after = dataset.load(tmp_path).train_images
    assert not after[0].any() and before[0].any() and np.array_equal(before[1:], after[1:])
