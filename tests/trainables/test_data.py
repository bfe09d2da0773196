"""The digits data set, resizing of images to the input of a network, and channel statistics."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils._python_dispatch import TorchDispatchMode

from sparsweep.trainables.data import ImageData, datasets
from sparsweep.trainables.pipeline import device_data
from sparsweep.trainables.pipeline.device_data import resize_to_model, to_device_data


def test_digits_split_has_every_image_exactly_once(raw_digits: ImageData) -> None:
    """The split is a partition: the two parts together are the 1797 images of scikit-learn."""
    source = load_digits()
    all_images = np.rint(source.images * 255 / 16).astype(np.uint8)

    def samples(images: np.ndarray, labels: np.ndarray) -> Counter[tuple[bytes, int]]:
        return Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    train = samples(raw_digits.train_images, raw_digits.train_labels)
    test = samples(raw_digits.test_images, raw_digits.test_labels)
    assert train + test == samples(all_images, source.target)
    assert (sum(train.values()), sum(test.values())) == (1437, 360)


def test_a_fifth_of_each_digit_is_in_the_test_set(raw_digits: ImageData) -> None:
    train, test = np.bincount(raw_digits.train_labels), np.bincount(raw_digits.test_labels)
    assert np.abs(test - 0.2 * (train + test)).max() <= 1


def test_digits_pixels_have_seventeen_levels(raw_digits: ImageData) -> None:
    levels = {round(level * 255 / 16) for level in range(17)}
    assert set(np.unique(raw_digits.train_images).tolist()) == levels


def test_gray_images_become_rgb_by_repetition() -> None:
    gray = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    color = resize_to_model(gray, 3, 2)
    assert color.shape == (2, 3, 2, 2) and color.dtype == torch.uint8 and color.is_contiguous()
    assert all(torch.equal(color[:, channel], gray[:, 0]) for channel in range(3))


def test_rgb_images_become_gray_by_luma() -> None:
    """0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2. Red alone gives 59.8."""
    color = torch.tensor([[200, 100, 50], [200, 0, 0]], dtype=torch.uint8).view(2, 3, 1, 1)
    assert resize_to_model(color, 1, 1).flatten().tolist() == [124, 60]


def test_small_images_are_enlarged_bilinearly_by_hand() -> None:
    """A row 0 100 at twice the size: the outer pixels keep their values, the inner ones are 1/4 and 3/4 of 100."""
    image = torch.tensor([[0, 100], [0, 100]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert resize_to_model(image, 1, 4)[0, 0].tolist() == [[0, 25, 75, 100]] * 4


def test_images_of_the_right_size_are_unchanged() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    assert torch.equal(resize_to_model(image, 3, 2), image)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_device_data_is_uint8_with_statistics_of_the_training_images(
    raw_digits: ImageData, channels: int, size: int
) -> None:
    data = to_device_data(raw_digits, channels, size, torch.device("cpu"))
    assert data.train_images.shape == (1437, channels, size, size) and data.test_images.shape[1:] == (
        channels,
        size,
        size,
    )
    assert data.train_images.dtype == data.test_images.dtype == torch.uint8
    pixels = data.train_images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-9)
    assert data.std == pytest.approx(pixels.transpose(0, 1).flatten(1).std(1, correction=0).tolist(), rel=1e-9)


def test_read_only_arrays_raise_no_warning(raw_digits: ImageData, recwarn: pytest.WarningsRecorder) -> None:
    """Arrays from an object store are shared between processes and therefore read-only."""
    arrays = [array.copy() for array in (raw_digits.train_images, raw_digits.train_labels)]
    for array in arrays:
        array.setflags(write=False)
    data = to_device_data(ImageData(*arrays, *arrays, classes=10), 1, 8, torch.device("cpu"))
    assert data.classes == 10 and not recwarn.list


def test_digits_validation_images_are_the_last_training_images(raw_digits: ImageData) -> None:
    dataset = datasets.parse({"name": "digits", "validation": 100})
    data = dataset.load()
    assert dataset.train_size == len(data.train_images) == 1337
    assert np.array_equal(np.concatenate([data.train_images, data.validation_images]), raw_digits.train_images)
    assert np.array_equal(np.concatenate([data.train_labels, data.validation_labels]), raw_digits.train_labels)
    assert np.array_equal(data.test_images, raw_digits.test_images)
    assert len(raw_digits.validation_images) == len(raw_digits.validation_labels) == 0


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_validation_images_are_resized_too(channels: int, size: int, raw_digits: ImageData) -> None:
    split_digits = datasets.parse({"name": "digits", "validation": 100}).load()
    data = to_device_data(split_digits, channels, size, torch.device("cpu"))
    assert data.validation_images.shape == (100, channels, size, size)
    unsplit = to_device_data(raw_digits, channels, size, torch.device("cpu"))
    assert torch.equal(data.validation_images, unsplit.train_images[-100:])
    assert torch.equal(data.validation_labels, unsplit.train_labels[-100:])
    assert len(unsplit.validation_images) == len(unsplit.validation_labels) == 0


def test_images_of_the_right_size_are_not_copied(raw_digits: ImageData) -> None:
    """On a CPU tensors use the memory of the arrays, which processes may share."""
    split_digits = datasets.parse({"name": "digits", "validation": 9}).load()
    data = to_device_data(split_digits, 1, 8, torch.device("cpu"))
    for name in ("train_images", "train_labels", "test_images", "test_labels", "validation_images"):
        assert getattr(data, name).data_ptr() == getattr(split_digits, name).ctypes.data, name


@pytest.mark.parametrize("chunk", [1, 7, 100, 5000])
def test_results_do_not_depend_on_the_chunk_size(
    chunk: int, raw_digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ImageData(*(getattr(raw_digits, name)[:150] for name in ARRAYS), classes=10)
    expected = to_device_data(few, 3, 32, torch.device("cpu"))
    monkeypatch.setattr(device_data, "CHUNK", chunk)
    data = to_device_data(few, 3, 32, torch.device("cpu"))
    assert torch.equal(data.train_images, expected.train_images)
    assert (data.mean, data.std) == (expected.mean, expected.std)


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def test_statistics_by_hand() -> None:
    """Levels 0, 0, 255, 255 and 51, 51, 51, 51: means 0.5 and 0.2, standard deviations 0.5 and 0. 1 replaces 0."""
    images = torch.tensor([[[0, 255]], [[51, 51]]], dtype=torch.uint8).expand(2, -1, -1, -1)
    mean, std = device_data.channel_statistics(images)
    assert mean == pytest.approx((0.5, 0.2), abs=1e-15) and std == pytest.approx((0.5, 1.0), abs=1e-15)


def test_statistics_need_little_memory() -> None:
    """All allocated tensors are smaller than the images."""
    images = torch.zeros(4000, 3, 8, 8, dtype=torch.uint8)
    with LargestAllocation() as seen:
        device_data.channel_statistics(images)
    assert 0 < seen.elements < images.numel()


class LargestAllocation(TorchDispatchMode):
    """Size of the largest tensor that an operation allocated, in elements."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        known = {tensor.untyped_storage().data_ptr() for tensor in args if isinstance(tensor, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in known:
                self.elements = max(self.elements, tensor.numel())
        return result
