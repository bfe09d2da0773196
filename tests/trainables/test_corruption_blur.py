"""Blurs against plain loops, worked examples, and results of the libraries of the reference implementation.

Golden values are the first channel of ``ramps()`` after scikit-image 0.26, OpenCV 5.0 and ImageMagick 6.9.11 (through
Wand 0.7), called as in the reference implementation.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from sparsweep.trainables.corruptions import SEVERITIES, corrupt
from sparsweep.trainables.corruptions.blur import (
    defocus_blur,
    displaced,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from sparsweep.trainables.corruptions.filters import clipped_zoom, disk, imagemagick_motion_blur, transformed
from sparsweep.trainables.corruptions.severities import CIFAR, TINY_IMAGENET
from support.corruption_references import (
    PresetDraws,
    clamped,
    filtered,
    gaussian_kernel,
    mirrored,
    ramps,
    smooth_images,
    within_one_level,
)

GAUSSIAN_1 = [
    [12, 28, 50, 70, 85, 90, 83, 79],
    [29, 57, 91, 116, 127, 122, 99, 75],
    [57, 89, 120, 141, 145, 138, 117, 78],
    [93, 117, 124, 130, 136, 132, 118, 80],
    [133, 144, 134, 121, 123, 129, 120, 86],
    [163, 158, 145, 123, 125, 145, 138, 104],
    [162, 142, 121, 109, 131, 164, 159, 131],
    [119, 97, 78, 92, 146, 183, 177, 156],
]
DEFOCUS_1_5 = [
    [27, 38, 72, 105, 139, 116, 92, 47],
    [41, 55, 99, 115, 130, 117, 105, 91],
    [82, 79, 125, 143, 162, 151, 112, 109],
    [138, 116, 137, 129, 121, 142, 106, 141],
    [151, 139, 134, 129, 124, 147, 113, 131],
    [177, 177, 145, 114, 112, 137, 135, 134],
    [133, 142, 114, 114, 142, 170, 170, 151],
    [165, 150, 103, 85, 124, 162, 173, 157],
]
MOTION_6_1_5_AT_30 = [
    [31, 49, 70, 76, 50, 67, 77, 82],
    [67, 104, 108, 160, 194, 110, 36, 54],
    [57, 139, 205, 157, 114, 145, 116, 40],
    [108, 89, 80, 146, 156, 108, 102, 39],
    [185, 182, 88, 108, 104, 85, 103, 53],
    [131, 140, 183, 147, 153, 184, 117, 80],
    [178, 146, 141, 92, 128, 188, 145, 121],
    [64, 55, 74, 134, 215, 191, 171, 161],
]
MOTION_9_2_5_AT_MINUS_40 = [
    [18, 31, 44, 57, 69, 80, 87, 91],
    [20, 41, 63, 84, 105, 125, 70, 82],
    [49, 93, 137, 181, 103, 80, 112, 62],
    [98, 169, 118, 123, 159, 107, 90, 49],
    [120, 156, 143, 103, 137, 77, 76, 44],
    [166, 87, 154, 120, 93, 130, 76, 51],
    [181, 178, 130, 112, 128, 127, 89, 73],
    [143, 106, 54, 101, 183, 138, 116, 109],
]


def constants_of(corruption: str) -> list[tuple[float, ...]]:
    return sorted({*CIFAR[corruption], *TINY_IMAGENET[corruption]})


@pytest.mark.parametrize(("sigma",), constants_of("gaussian_blur"))
def test_gaussian_blur_equals_a_direct_convolution(sigma: float) -> None:
    image = ramps(9, 11)
    expected = filtered(image[0], gaussian_kernel(sigma), clamped)
    np.testing.assert_allclose(gaussian_blur(image, PresetDraws(), sigma)[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("blurred", "golden"),
    [
        (gaussian_blur(ramps(), PresetDraws(), 1), GAUSSIAN_1),
        (defocus_blur(ramps(), PresetDraws(), 1.5, 0.1), DEFOCUS_1_5),
        (motion_blur(ramps(), PresetDraws(30), 6, 1.5), MOTION_6_1_5_AT_30),
        (motion_blur(ramps(), PresetDraws(-40), 9, 2.5), MOTION_9_2_5_AT_MINUS_40),
    ],
    ids=["gaussian", "defocus", "motion", "motion upwards"],
)
def test_blurs_match_the_libraries_of_the_reference(blurred: np.ndarray, golden: list[list[int]]) -> None:
    assert within_one_level(blurred[0, ..., 0], np.array(golden))


def test_disks_by_hand() -> None:
    """Radius 1 has 5 pixels, 1.5 has 9, 2 has 13. An alias blur of 0.1 pixels has no effect."""
    for radius, pixels in [(1, 5), (1.5, 9), (2, 13)]:
        kernel = disk(radius, 0.1)
        assert kernel.max() == pytest.approx(1 / pixels) and (kernel > 1e-9).sum() == pixels
    tail = math.exp(-2)  # standard deviation 0.5: exp(-1 / (2 * 0.25)) at a distance of one pixel
    profile = np.array([tail, 1, tail]) / (1 + 2 * tail)
    np.testing.assert_allclose(disk(0.4, 0.5)[-4:-1, -4:-1], np.outer(profile, profile))


@pytest.mark.parametrize(("radius", "alias_blur"), constants_of("defocus_blur"))
def test_defocus_blur_is_a_blurred_disk(radius: float, alias_blur: float) -> None:
    """As in the reference on 17x17 pixels: a disk of equal weights, blurred by a Gaussian on 3x3 pixels."""
    y, x = np.mgrid[-8:9, -8:9]
    inside = (x**2 + y**2 <= radius**2) / np.sum(x**2 + y**2 <= radius**2)
    corner, side = math.exp(-1 / alias_blur**2), math.exp(-1 / (2 * alias_blur**2))
    soft = np.array([[corner, side, corner], [side, 1, side], [corner, side, corner]])
    kernel = filtered(inside[..., None], soft / soft.sum(), mirrored)[..., 0]
    image = ramps(9, 12)
    expected = filtered(image[0], kernel, mirrored)
    np.testing.assert_allclose(defocus_blur(image, PresetDraws(), radius, alias_blur)[0], expected, atol=1e-3)


BY_HAND = {"copy": [10, 11, 11, 12, 13], "swap": [10, 14, 11, 12, 13]}


@pytest.mark.parametrize("glass", BY_HAND)
def test_glass_displacements_by_hand(glass: str) -> None:
    """The last row of 3x5 pixels is 10 to 14. Columns 4, 3, 2 are processed in turn, with their left neighbors."""
    images = np.arange(15, dtype=np.uint8).reshape(1, 3, 5, 1)
    offsets = np.zeros((1, 1, 1, 3, 2), int)
    offsets[..., 1] = -1
    out = displaced(images, offsets, 1, swap=glass == "swap")[0, ..., 0]
    assert out.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], BY_HAND[glass]]


def test_a_swap_of_numpy_views_copies_one_row() -> None:
    """This is why ``copy`` is the benchmark's mode: the second assignment reads the result of the first."""
    rows = np.arange(6).reshape(3, 2)
    rows[0], rows[2] = rows[2], rows[0]
    assert rows.tolist() == [[4, 5], [2, 3], [4, 5]]


@pytest.mark.parametrize("glass", BY_HAND)
def test_glass_displacements_equal_a_loop_over_pixels(glass: str) -> None:
    """Two images at once, each with its own offsets. Only ``swap`` keeps all pixel values."""
    reach, rounds, size = 2, 2, 9
    images = np.arange(2 * size * size, dtype=np.uint8).reshape(2, size, size, 1)
    shape = (2, rounds, size - 2 * reach, size - 2 * reach, 2)
    offsets = np.random.default_rng(0).integers(-reach, reach, shape)
    expected = images.copy()
    for image, moves in zip(expected, offsets, strict=True):
        for turn, row, column in np.ndindex(moves.shape[:3]):
            y, x = size - reach - row, size - reach - column
            down, right = moves[turn, row, column]
            current, partner = image[y, x].copy(), image[y + down, x + right].copy()
            image[y, x] = partner
            image[y + down, x + right] = current if glass == "swap" else partner
    out = displaced(images, offsets, reach, swap=glass == "swap")
    assert np.array_equal(out, expected) and not np.array_equal(out, images)
    kept = np.array_equal(np.sort(out.reshape(2, -1)), images.reshape(2, -1))
    assert kept == (glass == "swap")


def test_copying_pixels_changes_an_image_less_than_swapping() -> None:
    """At 32 pixels and severity 1, swapping changes pixels about 1.45 times as much."""
    images = smooth_images(40, 32)
    change = {
        glass: np.abs(corrupt(images, "glass_blur", 1, 0, "train", glass=glass) - images.astype(int)).mean()
        for glass in ("copy", "swap")
    }
    assert 1.3 < change["swap"] / change["copy"] < 1.6


def test_glass_blur_without_displacements_is_two_gaussians() -> None:
    image = ramps()
    no_offsets = np.zeros((1, 6, 6, 2), int)
    once = filtered(image[0], gaussian_kernel(0.4), clamped).astype(np.uint8)
    expected = filtered(once, gaussian_kernel(0.4), clamped)
    assert within_one_level(glass_blur(image, PresetDraws(no_offsets), 0.4, 1, 1)[0], expected)


def test_glass_blur_respects_its_reach() -> None:
    """One round of swaps at reach 1: a pixel moves up or left once per visit, but down or right by one at most."""
    image = np.zeros((40, 3, 12, 12), np.uint8)
    image[:, :, 5, 5] = 255
    out = corrupt(image, "glass_blur", 1, 0, "train", glass="swap")
    positions = np.argwhere(out[:, 0] == 255)[:, 1:]
    assert len(positions) == 40 and positions.max() == 6 and positions.min() < 4


def test_motion_blur_draws_an_angle_within_45_degrees_of_the_horizontal() -> None:
    given = PresetDraws(0)
    motion_blur(ramps(), given, 6, 1)
    assert given.requests == [(-45, 45)]


def test_motion_blur_by_hand() -> None:
    """At 0 degrees a pixel averages those on its right, so a point is blurred to the left by half a Gaussian."""
    images = np.zeros((1, 3, 9, 1))
    images[0, 1, 6] = 100
    half = np.exp(-(np.arange(5) ** 2) / 2)
    out = imagemagick_motion_blur(images, np.array([0.0]), 2, 1.0)[0, ..., 0]
    assert out[1] == pytest.approx([0, 0, *(100 * half[::-1] / half.sum()), 0, 0], abs=1e-4)
    assert not out[0].any() and not out[2].any()


@pytest.mark.parametrize("angle", [-135.0, -90.0, -45.0, -10.0, 0.0, 33.0, 45.0])
@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (9, 2.5), (14, 12)])
def test_motion_blur_is_a_weighted_sum_along_a_ray(angle: float, radius: int, sigma: float) -> None:
    image = ramps(9, 11)
    steps = range(2 * radius + 1)
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in steps]
    expected = np.zeros((9, 11, 3))
    for y in range(9):
        for x in range(11):
            for i in steps:
                down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
                right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
                expected[y, x] += weights[i] / sum(weights) * image[0, clamped(y + down, 9), clamped(x + right, 11)]
    np.testing.assert_allclose(imagemagick_motion_blur(image, np.array([angle]), radius, sigma)[0], expected, atol=1e-3)


@pytest.mark.parametrize("size", [8, 13, 32, 64])
@pytest.mark.parametrize("factor", [1, 1.01, 1.13, 1.25, 1.75, 2.25])
def test_clipped_zoom_enlarges_a_crop_and_trims_the_result(size: int, factor: float) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3))
    crop = math.ceil(size / factor)
    first = (size - crop) // 2
    large = ndimage.zoom(image[first : first + crop, first : first + crop], (factor, factor, 1), order=1)
    trim = (len(large) - size) // 2
    expected = large[trim : trim + size, trim : trim + size]
    out = transformed(image[None], clipped_zoom(size, size, factor))[0]
    np.testing.assert_allclose(out, expected, atol=1e-3)


@pytest.mark.parametrize(("end", "factors"), [(1.06, 7), (1.11, 12), (1.16, 16), (1.21, 21), (1.26, 26), (1.31, 32)])
def test_zoom_blur_is_the_mean_of_several_zooms(end: float, factors: int) -> None:
    """Rounding decides whether ``np.arange(1, end, 0.01)`` includes its end. The benchmark's factors are kept."""
    image = ramps(12, 12)
    zooms = np.arange(1, end, 0.01)
    assert len(zooms) == factors
    total = image[0].astype(float)
    for factor in zooms:
        total += transformed(image, clipped_zoom(12, 12, factor))[0]
    np.testing.assert_allclose(zoom_blur(image, PresetDraws(), end)[0], total / (factors + 1), atol=1e-3)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    "blur", ["gaussian_blur", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"]
)
def test_blurs_do_not_change_a_constant_image(blur: str, severity: int) -> None:
    """The result is exact: weights sum to 1, and rounding loses no level."""
    images = np.arange(0, 256, 5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 16, 16), np.uint8)
    assert np.array_equal(corrupt(images, blur, severity, 0, "train"), images)
