"""Augmentations against torchvision, against exact quarter turns, and pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import functional as reference

from sparsweep.trainables.pipeline.augmentation import crop, flip, rotate


def noise(count: int, size: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [8, 9, 32, 64])
@pytest.mark.parametrize("limit", [15, 180])
def test_rotation_matches_torchvision(size: int, limit: float) -> None:
    """``RandomRotation`` uses this function. One pixel in 10,000 may differ, where a point falls between two pixels."""
    images = noise(40, size)
    degrees = torch.empty(40).uniform_(-limit, limit, generator=torch.Generator().manual_seed(1))
    expected = torch.stack(
        [reference.rotate(image, float(angle)) for image, angle in zip(images, degrees, strict=True)]
    )
    assert (rotate(images, degrees) != expected).any(1).double().mean() <= 1e-4


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4])
def test_quarter_turns_are_exact_and_counter_clockwise(size: int, quarters: int) -> None:
    images = noise(2, size)
    assert torch.equal(rotate(images, torch.full((2,), 90.0 * quarters)), images.rot90(quarters, (2, 3)))


def test_rotation_pixel_by_pixel() -> None:
    """Each pixel of a 4x6 image by the formula, in float64."""
    image = torch.arange(1, 25, dtype=torch.uint8).view(1, 1, 4, 6)
    for degrees in (-31.0, 12.5, 75.0):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        expected = torch.zeros_like(image)
        for y in range(4):
            for x in range(6):
                right, up = x - 2.5, 1.5 - y  # from the center, y axis upwards
                # Rotating back clockwise gives the source of the pixel.
                source_x, source_y = round(2.5 + cos * right + sin * up), round(1.5 - (cos * up - sin * right))
                if 0 <= source_x < 6 and 0 <= source_y < 4:
                    expected[0, 0, y, x] = image[0, 0, source_y, source_x]
        assert torch.equal(rotate(image, torch.tensor([degrees])), expected)


def test_each_image_has_its_own_angle_and_corners_become_black() -> None:
    images = torch.full((3, 1, 9, 9), 200, dtype=torch.uint8)
    turned = rotate(images, torch.tensor([0.0, 45.0, -45.0]))
    assert torch.equal(turned[0], images[0])
    for corner in ((0, 0), (0, 8), (8, 0), (8, 8)):
        assert (turned[1:, 0, corner[0], corner[1]] == 0).all()
    assert (turned[1:, 0, 4, 4] == 200).all() and turned.dtype == torch.uint8


def test_crop_by_hand() -> None:
    """The central window of the padded image is the image. One down and one right moves it up and left."""
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).view(1, 1, 2, 2).expand(3, -1, -1, -1)
    cropped = crop(image, torch.tensor([[1, 2, 0], [1, 2, 1]]), 1)
    assert cropped[:, 0].tolist() == [[[1, 2], [3, 4]], [[4, 0], [0, 0]], [[0, 0], [1, 2]]]


def test_flip_by_hand() -> None:
    images = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).view(2, 1, 1, 3)
    assert flip(images, torch.tensor([True, False])).flatten(1).tolist() == [[3, 2, 1], [4, 5, 6]]
