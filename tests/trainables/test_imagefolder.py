"""A folder of one's own images: how it is read, what is in an id, and what is refused."""

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


def described(folder: Path | str, **fields: Any) -> Any:
    return datasets.parse({"name": "imagefolder", "path": str(folder), "image_size": 16, **fields})


def trial(folder: Path | str, **fields: Any) -> TrialSpec:
    dataset = {"name": "imagefolder", "path": str(folder), "image_size": 16, **fields}
    return TrialSpec(dataset=dataset, model="resnet18", sparsifier="dense")


def runs(spec: TrialSpec) -> list[Any]:
    """The runs of every kind that depend on the data set of ``spec``."""
    corrupted = spec.replace(difficulty={"name": "corruption", "types": "named3"})
    return [
        ScoringSpec.of(spec, 0, 1, "el2n"),
        SnapshotSpec(trial=spec, epochs=1),
        corrupted,
        *corrupted.prerequisites(),
    ]


def refusal(folder: Path | str, **fields: Any) -> str:
    with pytest.raises(ValidationError) as error:
        trial(folder, **fields)
    said = format_error(error.value)
    assert "\n" not in said
    return said


def test_sizes_come_from_the_listing(folder: Path) -> None:
    """What is no image, by its suffix or because it is hidden, is not counted."""
    dataset = described(folder, image_size=24)
    assert (dataset.train_size, dataset.classes, dataset.image_shape) == (15, 3, (3, 24, 24))


def test_images_lie_by_class_and_file_name(folder: Path, tmp_path: Path) -> None:
    data = described(folder).load(tmp_path)
    assert data.train_images.shape == (3 * FOLDER_TRAIN, 3, 16, 16) and data.test_images.shape[0] == 3 * FOLDER_TEST
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 and data.train_labels.dtype == np.int64
    assert data.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    with Image.open(folder / "test" / FOLDER_CLASSES[2] / "0.png") as image:
        assert np.array_equal(data.test_images[6], np.asarray(image).transpose(2, 0, 1))


def test_folders_name_the_classes(folder: Path) -> None:
    dataset = described(folder)
    assert dataset.class_names() == FOLDER_CLASSES
    shutil.rmtree(folder)
    assert dataset.class_names() == ("class 0", "class 1", "class 2")


def test_an_image_is_scaled_by_its_shorter_side_and_cropped_at_the_centre(tmp_path: Path) -> None:
    """48x16: the outer thirds, which are black, go; so they do where what is left is halved."""
    grey = np.zeros((16, 48), np.uint8)
    grey[:, 16:32] = 200
    for part in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / "wide" / part / name).mkdir(parents=True)
            Image.fromarray(grey).save(tmp_path / "wide" / part / name / "a.png")
            Image.fromarray(grey.T).save(tmp_path / "wide" / part / name / "b.png")
        Image.new("L", (16, 16)).save(tmp_path / "wide" / part / "two" / "black.png")
    data, halved = (described(tmp_path / "wide", image_size=size).load(tmp_path) for size in (16, 8))
    assert (data.train_images[:-1] == 200).all() and not data.train_images[-1].any()
    assert (halved.train_images[:-1, :, 1:-1, 1:-1] == 200).all()


def test_scaling_is_bilinear(tmp_path: Path) -> None:
    """A ramp of grey stays a ramp: 0, 4, 8, ... halved is the mean of each two by two."""
    ramp = np.tile((4 * np.arange(32)).astype(np.uint8), (32, 1))
    for part in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / "ramp" / part / name).mkdir(parents=True)
            Image.fromarray(ramp).save(tmp_path / "ramp" / part / name / "a.png")
    image = described(tmp_path / "ramp").load(tmp_path).train_images[0, 0]
    assert (image[:, 1:-1] == 4 * (2 * np.arange(1, 15)) + 2).all()


def test_held_out_images_are_of_every_class(folder: Path, tmp_path: Path) -> None:
    whole, data = described(folder).load(tmp_path), described(folder, validation=6).load(tmp_path)
    assert described(folder, validation=6).train_size == len(data.train_images) == 9
    both = np.concatenate([data.train_images, data.validation_images])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in whole.train_images)
    assert len(set(data.validation_labels.tolist())) > 1


# Identity ------------------------------------------------------------------------------------------------------------


def test_the_path_is_not_in_the_id(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    assert trial(folder).id == trial(tmp_path / "moved").id
    for one, other in zip(runs(trial(folder)), runs(trial(tmp_path / "moved")), strict=True):
        assert type(one) is type(other) and one.id == other.id
    assert trial(folder).dataset.model_dump()["path"] == str(folder)


@pytest.mark.parametrize("fields", [{"image_size": 17}, {"validation": 1}], ids=str)
def test_everything_else_is_in_the_id(fields: dict[str, Any], folder: Path) -> None:
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


def test_files_that_are_no_images_are_not_in_the_id(folder: Path, tmp_path: Path) -> None:
    before = trial(folder).id
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "train" / "cat" / "more.txt").write_text("notes")
    assert trial(tmp_path / "other").id == before


def test_a_spec_needs_no_folder_once_it_is_made(folder: Path) -> None:
    """A worker on another node reads the spec, and has only the images that it is sent."""
    spec = trial(folder)
    text = to_json(spec)
    shutil.rmtree(folder)
    again = from_json(text)
    assert again == spec and again.id == spec.id and again.trained_trial.num_samples == 15


def test_a_home_folder_can_be_meant(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert trial("~/pictures").id == trial(folder).id
    assert len(described("~/pictures").load(tmp_path).train_images) == 15


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_relative_path_is_refused() -> None:
    assert refusal("pictures") == ("dataset.path: must be absolute (got pictures). Start it with / or ~.")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        f"dataset.path: {tmp_path}/none/train is not a folder. Put images (.bmp, .jpeg, .jpg, .pgm, .png, .ppm, "
        ".tif, .tiff, .webp) into train/CLASS and test/CLASS."
    )


def test_classes_must_be_those_of_both_parts(folder: Path) -> None:
    shutil.rmtree(folder / "test" / "eel")
    said = refusal(folder)
    assert said.endswith("class eel is in train but not in test. Both need the same classes.")
    (folder / "test" / "eel").mkdir()
    assert refusal(folder).endswith(
        "test/eel has no image that ends in .bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp"
    )


def test_a_class_of_the_test_set_alone_is_refused(folder: Path) -> None:
    shutil.copytree(folder / "test" / "eel", folder / "test" / "fox")
    assert refusal(folder).endswith("class fox is in test but not in train. Both need the same classes.")


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "train").mkdir(parents=True)
    assert refusal(tmp_path / "empty").endswith("empty/train has no class folders")


def test_one_class_alone_is_refused(folder: Path) -> None:
    """A folder one level too high, or the images of a single class: every network would be right."""
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "cat"), shutil.rmtree(folder / part / "eel")
    assert refusal(folder) == (
        f"dataset.path: {folder}: at least two classes are needed (got only dog). "
        "Put the images of each class into its own folders, train/CLASS and test/CLASS."
    )


def test_images_without_any_contrast_are_refused(folder: Path, tmp_path: Path) -> None:
    """Of one colour, all of them: their deviation is 0 in every channel, and nothing could be learnt."""
    for path in find_images(folder / "train").images.values():
        Image.new("RGB", (16, 16), (90, 20, 0)).save(path, "PNG")
    with pytest.raises(CorruptDataError, match=r"/train: all pixels have the same color\. Replace the images\.$"):
        described(folder).load(tmp_path)
    shutil.copytree(folder, tmp_path / "other")
    Image.new("RGB", (16, 16), (91, 20, 0)).save(tmp_path / "other" / path.relative_to(folder), "PNG")
    data = to_device_data(described(tmp_path / "other").load(tmp_path), 3, 16, torch.device("cpu"))
    assert data.std[0] > 0 and data.std[1:] == (1.0, 1.0), "a channel without contrast is not divided by nothing"


@pytest.mark.parametrize("thing", ["train/cat/caf\udce9.png", "test/caf\udce9/0.png"])
def test_names_that_are_not_utf8_are_named(thing: str, folder: Path) -> None:
    (folder / thing).parent.mkdir(exist_ok=True)
    shutil.copy(folder / "train/cat/0.png", folder / thing)
    said = refusal(folder)
    assert said.encode() and re.search(r"a name is not UTF-8 \(got caf\\xe9(\.png)?\)\. Rename the file\.$", said)


def test_a_name_in_another_unicode_form_is_the_same_name(folder: Path, tmp_path: Path) -> None:
    """A folder that was copied from a Mac, whose file names are decomposed, is the same data set."""
    for part in ("train", "test"):
        (folder / part / "cat").rename(folder / part / "caf\u00e9")
    shutil.copytree(folder, tmp_path / "mac")
    before = trial(folder).id
    (tmp_path / "mac" / "test" / "caf\u00e9").rename(tmp_path / "mac" / "test" / "cafe\u0301")
    assert trial(tmp_path / "mac").id == before
    assert len(described(tmp_path / "mac").load(tmp_path).test_images) == 9
    shutil.move(tmp_path / "mac", tmp_path / "both")
    shutil.copytree(folder / "test" / "caf\u00e9", tmp_path / "both" / "test" / "caf\u00e9")
    assert "two classes have the name 'caf\u00e9' in different Unicode forms. Merge them." in refusal(tmp_path / "both")


def test_what_is_left_out_is_counted_and_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "val").mkdir(), (folder / ".git").mkdir()
    shutil.copy(folder / "train/cat/0.png", folder / "train/loose.png")
    shutil.copy(folder / "train/cat/0.png", folder / "train/cat/film.mp4")
    (folder / "test" / "dog" / "._0.png").touch()
    trial(folder), trial(folder)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        f"{folder}: 4 skipped: train/loose.png, val/, train/cat/film.mp4 and 1 more. Image files end in"
    )


def test_images_below_a_class_are_its_images(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "cat" / "second").mkdir()
    Image.new("RGB", (16, 16), "red").save(folder / "train" / "cat" / "second" / "9.webp", lossless=True)
    dataset = described(folder)
    assert dataset.available == 16
    data = dataset.load(tmp_path)
    assert data.train_labels.tolist() == [0] * 6 + [1] * 5 + [2] * 5
    assert (data.train_images[5].reshape(3, -1).T == [255, 0, 0]).all()


def test_a_digest_that_is_given_is_held_to(folder: Path) -> None:
    digest = trial(folder).dataset.model_dump()["digest"]
    assert trial(folder, digest=digest).id == trial(folder).id
    said = refusal(folder, digest="0" * 16)
    assert said == f"dataset.digest: the files in {folder} have digest {digest} (got {'0' * 16})"


@pytest.mark.parametrize("fields", [{"image_size": 0}, {"validation": 15}, {"digest": "none"}, {"size": 3}], ids=str)
def test_fields_that_cannot_be_are_refused(fields: dict[str, Any], folder: Path) -> None:
    assert refusal(folder, **fields).startswith("dataset")


def test_a_folder_that_has_changed_since_is_not_read(folder: Path, tmp_path: Path) -> None:
    dataset = described(folder)
    file = folder / "train" / "cat" / "0.png"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(
        CorruptDataError, match=rf"{folder} has changed: .* not the trial's {dataset.digest}; restore [^\n]*$"
    ):
        dataset.load(tmp_path)


def test_a_folder_that_has_gone_since_is_missing(folder: Path, tmp_path: Path) -> None:
    dataset = described(folder)
    shutil.rmtree(folder)
    with pytest.raises(MissingDataError, match=rf"^{folder}/train is not a folder\. [^\n]*$"):
        dataset.load(tmp_path)


def test_an_image_that_cannot_be_decoded_is_named(folder: Path, tmp_path: Path) -> None:
    file = folder / "train" / "cat" / "0.png"
    file.write_bytes(b"no picture, this")
    shutil.copytree(folder, tmp_path / "damaged")
    with pytest.raises(
        CorruptDataError, match=r"damaged/train/cat/0\.png cannot be decoded: .*; replace or remove it$"
    ):
        described(tmp_path / "damaged").load(tmp_path)


def test_an_image_that_was_written_again_is_decoded_again(folder: Path, tmp_path: Path) -> None:
    """Even with as many bytes as before, for which the id is the same: pixels are never older than their file."""
    dataset = described(folder)
    before = dataset.load(tmp_path).train_images.copy()
    file = folder / "train" / "cat" / "0.png"
    size = file.stat().st_size
    Image.new("RGB", (16, 16)).save(file)
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))
    os.utime(file, (1, 1))
    after = dataset.load(tmp_path).train_images
    assert not after[0].any() and before[0].any() and np.array_equal(before[1:], after[1:])
