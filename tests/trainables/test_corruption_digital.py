"""Color, geometry and compression against Python's color conversions, worked examples and the JPEG standard."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

from sparsweep.trainables.corruptions import SEVERITIES, corrupt
from sparsweep.trainables.corruptions.digital import (
    brightness,
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from sparsweep.trainables.corruptions.severities import CIFAR, TINY_IMAGENET
from support.corruption_references import PresetDraws, filtered, ramps, within_one_level


def constants_of(corruption: str) -> list[tuple[float, ...]]:
    return sorted({*CIFAR[corruption], *TINY_IMAGENET[corruption]})


def colors() -> np.ndarray:
    """Return uint8 (1, 8, 9, 3): rough ramps, and black, white, gray and pure colors in the last column."""
    special = [[0, 0, 0], [255, 255, 255], [128, 128, 128], [255, 0, 0], [0, 255, 0], [0, 0, 9], [9, 9, 8], [1, 0, 0]]
    return np.concatenate([ramps(), np.array(special, np.uint8)[None, :, None]], axis=2)


def through_hsv(image: np.ndarray, change: object) -> np.ndarray:
    """Convert each pixel of (H, W, 3) to HSV with the standard library, apply ``change``, and convert back."""
    out = np.zeros(image.shape)
    for position in np.ndindex(*image.shape[:2]):
        hsv = colorsys.rgb_to_hsv(*(image[position] / 255))
        out[position] = 255 * np.array(colorsys.hsv_to_rgb(*change(*hsv)))
    return out


@pytest.mark.parametrize(("added",), constants_of("brightness"))
def test_brightness_raises_the_value(added: float) -> None:
    expected = through_hsv(colors()[0], lambda h, s, v: (h, s, min(v + added, 1)))
    np.testing.assert_allclose(brightness(colors(), PresetDraws(), added)[0], expected, atol=1e-9)


@pytest.mark.parametrize(("factor", "added"), constants_of("saturate"))
def test_saturate_changes_the_saturation(factor: float, added: float) -> None:
    expected = through_hsv(colors()[0], lambda h, s, v: (h, min(max(s * factor + added, 0), 1), v))
    np.testing.assert_allclose(saturate(colors(), PresetDraws(), factor, added)[0], expected, atol=1e-9)


def test_contrast_by_hand() -> None:
    """The channel means are 100, 50 and 0. A factor of 0.5 halves the distance to them."""
    image = np.array([[[80, 0, 0], [120, 100, 0]]], np.uint8)[None]
    assert contrast(image, PresetDraws(), 0.5)[0].tolist() == [[[90, 25, 0], [110, 75, 0]]]


@pytest.mark.parametrize(("factor",), constants_of("contrast"))
def test_contrast_follows_the_formula_of_the_reference(factor: float) -> None:
    x = ramps()[0] / 255.0
    means = np.mean(x, axis=(0, 1), keepdims=True)
    assert within_one_level(
        contrast(ramps(), PresetDraws(), factor)[0], np.clip((x - means) * factor + means, 0, 1) * 255
    )


def test_pixelate_by_hand() -> None:
    """At scale 0.5 each 2x2 block becomes its mean."""
    image = ramps()
    blocks = image[0].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    expected = blocks.repeat(2, axis=0).repeat(2, axis=1)
    assert within_one_level(pixelate(image, PresetDraws(), 0.5)[0], np.rint(expected))


@pytest.mark.parametrize(("side", "severity", "small"), [(32, 1, 30), (32, 5, 20), (64, 3, 44), (64, 6, 25), (8, 6, 4)])
def test_pixelate_has_the_resolution_of_the_reference(side: int, severity: int, small: int) -> None:
    """A random image keeps int(side * scale) distinct rows and columns."""
    image = np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)
    out = corrupt(image, "pixelate", severity, 0, "train")[0]
    rows, columns = np.diff(out, axis=1).any(axis=(0, 2)), np.diff(out, axis=2).any(axis=(0, 1))
    assert rows.sum() == columns.sum() == small - 1


LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@pytest.mark.parametrize("quality", [80, 58, 40, 25, 10])
def test_jpeg_is_a_quantized_cosine_transform(quality: int) -> None:
    """An 8x8 gray block by the standard (ITU-T T.81, table K.1): coefficients are rounded to multiples of the table."""
    block = ramps()[0, ..., 0].astype(float)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.clip((LUMINANCE * scale + 50) // 100, 1, 255)
    basis = np.array([[math.cos((2 * x + 1) * u * math.pi / 16) / 2 for x in range(8)] for u in range(8)])
    basis[0] /= 2**0.5
    coefficients = np.rint(basis @ (block - 128) @ basis.T / table) * table
    expected = np.clip(basis.T @ coefficients @ basis + 128, 0, 255)
    gray = ramps()[..., :1].repeat(3, axis=-1)
    out = jpeg_compression(gray, PresetDraws(), quality)[0]
    assert np.abs(out - expected[..., None]).max() <= 2.5  # integer arithmetic of the coder and of the color conversion


NO_NOISE = np.zeros((2, 8, 8))


def test_elastic_transform_without_displacements_returns_the_image() -> None:
    np.testing.assert_allclose(
        elastic_transform(ramps(), PresetDraws(np.zeros((3, 2)), NO_NOISE), 0.1, 0.2, 0.1), ramps(), atol=1e-4
    )


def test_the_affine_part_of_elastic_transform_by_hand() -> None:
    """Three points that move right by one pixel shift the image, mirrored about its edge pixel."""
    right = np.array([[1, 0]] * 3)
    given = PresetDraws(right, NO_NOISE)
    out = elastic_transform(ramps(), given, 0, 0, 1 / 8)[0]
    assert given.requests == [(-1, 1, 3, 2), (-1, 1, 2, 8, 8)]
    np.testing.assert_allclose(out[:, 1:], ramps()[0, :, :-1], atol=1e-3)
    np.testing.assert_allclose(out[:, 0], ramps()[0, :, 1], atol=1e-3)


def test_the_displacements_of_elastic_transform_by_hand() -> None:
    """A displacement of 1 stays 1 after any Gaussian. Each pixel comes from below, the last row from its mirror."""
    down = np.stack([np.ones((8, 8)), np.zeros((8, 8))])
    out = elastic_transform(ramps(), PresetDraws(np.zeros((3, 2)), down), 1 / 8, 0.3, 0)[0]
    np.testing.assert_allclose(out[:-1], ramps()[0, 1:], atol=1e-3)
    np.testing.assert_allclose(out[-1], ramps()[0, -1], atol=1e-3)


def test_elastic_transform_smooths_the_displacements() -> None:
    """On a plane 3 x + 4 y a pixel changes by 3 dx + 4 dy: noise after a Gaussian of 1.5 pixels cut at 3 deviations."""
    side, reach = 16, 5  # round(3 * 1.5 pixels)
    noise = np.random.default_rng(0).uniform(-1, 1, (2, side, side))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * 1.5**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2

    def folded(position: int, length: int) -> int:  # c b a | a b c: the edge pixel is repeated
        return min(position % (2 * length), 2 * length - 1 - position % (2 * length))

    down, right = (filtered(field[..., None], kernel, folded)[..., 0] for field in noise)
    y, x = np.mgrid[:side, :side]
    plane = np.stack([3.0 * x + 4.0 * y] * 3, axis=-1)
    given = PresetDraws(np.zeros((3, 2)), noise)
    out = elastic_transform(plane[None], given, 0.1, 1.5 / side, 0)[0]
    inside = slice(2, -2)  # at the border the image is no longer a plane
    changed = (out - plane)[inside, inside, 0]
    np.testing.assert_allclose(changed, 0.1 * side * (3 * right + 4 * down)[inside, inside], atol=1e-4)


def test_elastic_transform_maps_its_three_points_exactly() -> None:
    """On a plane 3 x + 4 y each moved point has the value at its source position."""
    y, x = np.mgrid[:32, :32]
    plane = np.stack([3.0 * x + 4.0 * y] * 3, axis=-1)[None]
    moves = np.array([[2.0, 1.0], [-1.0, 0.0], [0.0, 2.0]])
    out = elastic_transform(plane, PresetDraws(moves / 32, np.zeros((2, 32, 32))), 0, 0, 1)[0, ..., 0]
    for point, move in zip([(26, 26), (26, 6), (6, 6)], moves.astype(int), strict=True):
        (from_x, from_y), (to_x, to_y) = point, point + move
        assert out[to_y, to_x] == pytest.approx(3 * from_x + 4 * from_y, abs=1e-3)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_saturate_on_gray_images_adds_a_constant_saturation(severity: int) -> None:
    """Gray has saturation 0 at any factor. The term added from severity 4 on makes gray red, as in the reference."""
    gray = np.full((1, 3, 8, 8), 100, np.uint8)
    out = corrupt(gray, "saturate", severity, 0, "train")
    added = CIFAR["saturate"][severity - 1][1]
    assert (out[0, 0] == 100).all() and (out[0, 1:] == math.floor(100 * (1 - added) + 1e-3)).all()
