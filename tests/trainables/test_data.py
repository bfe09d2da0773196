"""The digits, and images made to fit a network."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trainables.data import ImageData, fit, place


def test_digits_are_each_image_once_in_train_or_test(raw_digits: ImageData) -> None:
    """The split is a partition: together the two parts are the library's 1797 images, none twice, none lost."""
    source = load_digits()
    whole = np.rint(source.images * 255 / 16).astype(np.uint8)

    def samples(images: np.ndarray, labels: np.ndarray) -> Counter[tuple[bytes, int]]:
        return Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    train = samples(raw_digits.train_images, raw_digits.train_labels)
    test = samples(raw_digits.test_images, raw_digits.test_labels)
    assert train + test == samples(whole, source.target)
    assert (sum(train.values()), sum(test.values())) == (1437, 360)


def test_a_fifth_of_every_digit_is_for_testing(raw_digits: ImageData) -> None:
    train, test = np.bincount(raw_digits.train_labels), np.bincount(raw_digits.test_labels)
    assert np.abs(test - 0.2 * (train + test)).max() <= 1


def test_pixels_are_levels_of_sixteen(raw_digits: ImageData) -> None:
    levels = {round(level * 255 / 16) for level in range(17)}
    assert set(np.unique(raw_digits.train_images).tolist()) == levels


def test_grey_becomes_rgb_by_repetition() -> None:
    grey = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    colour = fit(grey, 3, 2)
    assert colour.shape == (2, 3, 2, 2) and colour.dtype == torch.uint8 and colour.is_contiguous()
    assert all(torch.equal(colour[:, channel], grey[:, 0]) for channel in range(3))


def test_rgb_becomes_grey_by_luma_by_hand() -> None:
    """.299 * 200 + .587 * 100 + .114 * 50 = 124.2; red alone: 59.8."""
    colour = torch.tensor([[200, 100, 50], [200, 0, 0]], dtype=torch.uint8).view(2, 3, 1, 1)
    assert fit(colour, 1, 1).flatten().tolist() == [124, 60]


def test_small_images_are_enlarged_bilinearly_by_hand() -> None:
    """0 100 doubled: the outer pixels stay, the inner ones are a quarter of the way to the other."""
    image = torch.tensor([[0, 100], [0, 100]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert fit(image, 1, 4)[0, 0].tolist() == [[0, 25, 75, 100]] * 4


def test_images_that_fit_are_returned_as_they_are() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    assert torch.equal(fit(image, 3, 2), image)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32)])
def test_place_keeps_uint8_and_takes_statistics_of_the_training_images(
    raw_digits: ImageData, channels: int, size: int
) -> None:
    data = place(raw_digits, channels, size, torch.device("cpu"))
    assert data.train_images.shape == (1437, channels, size, size) and data.test_images.shape[1:] == (
        channels,
        size,
        size,
    )
    assert data.train_images.dtype == data.test_images.dtype == torch.uint8
    pixels = data.train_images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-9)
    assert data.std == pytest.approx(pixels.transpose(0, 1).flatten(1).std(1, correction=0).tolist(), rel=1e-9)


def test_place_takes_read_only_arrays_without_a_warning(
    raw_digits: ImageData, recwarn: pytest.WarningsRecorder
) -> None:
    """Arrays from an object store shared between processes cannot be written."""
    arrays = [array.copy() for array in (raw_digits.train_images, raw_digits.train_labels)]
    for array in arrays:
        array.setflags(write=False)
    data = place(ImageData(*arrays, *arrays, classes=10), 1, 8, torch.device("cpu"))
    assert data.classes == 10 and not recwarn.list
