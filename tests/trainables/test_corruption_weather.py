"""Snow, frost and fog: plain loops at given random numbers, closed forms, and synthetic photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsweep.trainables.corruptions import SEVERITIES, corrupt
from sparsweep.trainables.corruptions.filters import imagemagick_motion_blur
from sparsweep.trainables.corruptions.weather import fog, frost, load_photographs, plasma, snow
from support.corruption_references import PresetDraws, ramps, within_one_level


def plasma_by_loops(draws: list[np.ndarray], size: int) -> np.ndarray:
    """Compute diamond-square point by point on a torus. ``draws`` are the added numbers, three arrays for each step."""
    heights = np.zeros((size, size))
    step, amplitude = size, 100.0
    numbers = iter(draws)

    def mean(*points: tuple[int, int]) -> float:
        return sum(heights[y % size, x % size] for y, x in points) / 4

    while step > 1:
        half = step // 2
        for first_y, first_x, reach in [(half, half, "corners"), (0, half, "sides"), (half, 0, "sides")]:
            added = next(numbers)
            for i, y in enumerate(range(first_y, size, step)):
                for j, x in enumerate(range(first_x, size, step)):
                    corners = [(y - half, x - half), (y - half, x + half), (y + half, x - half), (y + half, x + half)]
                    sides = [(y - half, x), (y + half, x), (y, x - half), (y, x + half)]
                    around = corners if reach == "corners" else sides
                    heights[y, x] = mean(*around) + amplitude * added[i, j]
        step, amplitude = half, amplitude / 2
    heights -= heights.min()
    return heights / heights.max()


def test_plasma_equals_diamond_square_by_loops() -> None:
    generator = np.random.default_rng(0)
    draws = [generator.uniform(-1, 1, (8 // step,) * 2) for step in (8, 8, 8, 4, 4, 4, 2, 2, 2)]
    given = PresetDraws(*draws)
    heights = plasma(given, 8, 2)[0]
    np.testing.assert_allclose(heights, plasma_by_loops(draws, 8), atol=1e-12)
    assert heights.min() == 0 and heights.max() == 1
    # The amplitude bounds the random numbers and also multiplies them.
    assert [bounds[:2] for bounds in given.requests] == [
        (-amplitude, amplitude) for amplitude in (100, 50, 25) for _ in range(3)
    ]


def test_fog_keeps_the_maximum_value() -> None:
    """A constant image v with haze h in [0, 1] of thickness t becomes (v + 255 t h) v / (v + 255 t)."""
    generator = np.random.default_rng(0)
    draws = [generator.uniform(-1, 1, (8 // step,) * 2) for step in (8, 8, 8, 4, 4, 4, 2, 2, 2)]
    haze = plasma(PresetDraws(*draws), 8, 2.5)[0]
    out = fog(np.full((1, 8, 8, 3), 120, np.uint8), PresetDraws(*draws), 0.75, 2.5)[0]
    np.testing.assert_allclose(out[..., 0], (120 + 0.75 * 255 * haze) * 120 / (120 + 0.75 * 255))
    assert out.max() == pytest.approx(120) and out.min() == pytest.approx(120**2 / (120 + 0.75 * 255))


def test_fog_does_not_change_black_images() -> None:
    black = np.zeros((2, 3, 32, 32), np.uint8)
    assert not corrupt(black, "fog", 5, 0, "train").any()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 30), (33, 20)])
def test_fog_covers_images_of_any_size(height: int, width: int) -> None:
    images = np.full((2, 3, height, width), 99, np.uint8)
    out = corrupt(images, "fog", 3, 0, "train")
    assert out.shape == images.shape and len(np.unique(out[0])) > 10


def test_snow_without_flakes_brightens_the_image() -> None:
    """0.8 of the image plus 0.2 of max(image, 1.5 luma + 127.5), with OpenCV's luma."""
    image = ramps()
    luma = image[..., :1] * 0.299 + image[..., 1:2] * 0.587 + image[..., 2:] * 0.114
    expected = 0.8 * image + 0.2 * np.maximum(image, 1.5 * luma + 127.5)
    no_snow = PresetDraws(np.zeros((8, 8, 1)), -90)
    np.testing.assert_allclose(snow(image, no_snow, 0.3, 0, 1, 0.5, 6, 2, 0.8), expected)
    assert no_snow.requests == [(8, 8, 1), (-135, -45)]


def test_snow_is_added_twice_once_rotated_by_180_degrees() -> None:
    """One pixel of twice white on black, zoom 1: clipped at white, motion-blurred, and added again rotated."""
    flakes = np.zeros((9, 9, 1))
    flakes[6, 2] = 2
    out = snow(np.zeros((1, 9, 9, 3), np.uint8), PresetDraws(flakes, -90), 0, 1, 1, 0.5, 2, 1.0, 1)[0]
    point = np.where(flakes > 0, 255, 0)[None]
    blurred = np.floor(imagemagick_motion_blur(point, np.array([-90.0]), 2, 1.0) + 1e-3)[0]
    assert np.flatnonzero(blurred[..., 0].any(axis=1)).tolist() == [
        6,
        7,
        8,
    ]  # at -90 degrees a pixel averages those above
    assert np.array_equal(out, (blurred + blurred[::-1, ::-1]).repeat(3, axis=-1))


def test_noise_below_the_threshold_gives_no_snow() -> None:
    noise = np.full((8, 8, 1), 0.4)
    noise[3, 3] = 0.6
    out = snow(np.zeros((1, 8, 8, 3), np.uint8), PresetDraws(noise, -90), 0, 1, 1, 0.5, 0, 1.0, 1)[0]
    assert {tuple(position) for position in np.argwhere(out[..., 0])} == {(3, 3), (4, 4)}
    assert out[3, 3, 0] == 153


def photograph(folder: Path, pixels: np.ndarray, name: str = "ice.png") -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder


def test_photographs_are_sampled_at_a_fifth(tmp_path: Path) -> None:
    """The samples are the centers of 5x5 blocks: 2, 7, 12, ... in both directions."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 85, 3), dtype=np.uint8)
    (loaded,) = load_photographs(photograph(tmp_path / "frost", pixels), 0.2, 8, 8)
    assert np.array_equal(loaded, pixels[2::5, 2::5])


def test_photographs_are_sampled_at_three_tenths(tmp_path: Path) -> None:
    """Linear interpolation without prior averaging: a ramp 5 x becomes 5 ((j + 0.5) / 0.3 - 0.5)."""
    ramp = np.broadcast_to(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (40, 50, 3))
    (loaded,) = load_photographs(photograph(tmp_path / "frost", np.ascontiguousarray(ramp)), 0.3, 8, 8)
    assert loaded.shape == (12, 15, 3)
    np.testing.assert_allclose(loaded[5, :, 0], 5 * ((np.arange(15) + 0.5) / 0.3 - 0.5), atol=1)


@pytest.mark.parametrize(("scale", "side", "samples"), [(0.3, 45, 14), (0.3, 25, 8), (0.2, 55, 11), (0.3, 41, 12)])
def test_photographs_have_no_black_edge(scale: float, side: int, samples: int, tmp_path: Path) -> None:
    """45 x 0.3 = 13.5 is rounded up to 14 samples. The last is at 13.5 / 0.3 = 45, on the edge of the photograph."""
    pixels = np.full((side, side, 3), 100, np.uint8)
    pixels[-1], pixels[:, -1] = 200, 200
    (loaded,) = load_photographs(photograph(tmp_path / "frost", pixels), scale, 8, 8)
    assert loaded.shape == (samples, samples, 3) and loaded.min() >= 100
    assert (loaded[-1] == 200).all() == (loaded[:, -1] == 200).all() == (side * scale % 1 == 0.5)


def test_frost_by_hand() -> None:
    """The window at (2, 3) of the second photograph: 0.75 of the image plus 0.5 of the photograph."""
    dark, bright = np.zeros((20, 20, 3), np.uint8), np.random.default_rng(0).integers(0, 256, (11, 12, 3))

    class Fixed(PresetDraws):
        def each(self, draw: object) -> np.ndarray:
            numbers = iter([1, 2, 3])
            stream = type("Stream", (), {"integers": lambda _, high: next(numbers)})()
            return draw(stream)[None]

    out = frost(ramps(), Fixed(photographs=(dark, bright)), 0.75, 0.5)[0]
    np.testing.assert_allclose(out, 0.75 * ramps()[0] + 0.5 * bright[2:10, 3:11])


def test_every_window_of_every_photograph_is_used(tmp_path: Path) -> None:
    """Photographs one pixel larger than the image have four windows each, including the last ones."""
    folder = tmp_path / "frost"
    for name, level in (("a.png", 0), ("b.JPG", 100), ("c.jpeg", 200)):
        pixels = np.full((45, 45, 3), level, np.uint8)
        photograph(folder, pixels, name)
    corner = np.zeros((45, 45, 3), np.uint8)
    corner[2::5, 2::5] = np.arange(81, dtype=np.uint8).reshape(9, 9)[..., None]
    photograph(folder, corner, "d.png")
    out = corrupt(np.zeros((300, 3, 8, 8), np.uint8), "frost", 5, 0, "train", frost_folder=folder)[:, 0]
    flat = out[(out == out[:, :1, :1]).all(axis=(1, 2)), 0, 0]
    assert {int(level) for level in flat} == {0, int(0.45 * 100), int(0.45 * 200)}
    windows = {tuple(image.ravel()) for image in out if image[0, 0] != image[7, 7]}
    expected = {
        tuple(np.floor(0.45 * corner[2::5, 2::5, 0][y : y + 8, x : x + 8] + 1e-3).astype(int).ravel())
        for y in (0, 1)
        for x in (0, 1)
    }
    assert windows == expected


FROST = {
    (32, 0.2): ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45), (0.65, 0.5)),
    (64, 0.3): ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55), (0.65, 0.6)),
}
"""Weights of the image and of the photograph by severity, for each image size and scale of the photographs."""


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("side", "scale"), FROST)
def test_frost_uses_the_constants_and_the_scale_of_the_image_size(
    side: int, scale: float, severity: int, tmp_path: Path
) -> None:
    """A gray image plus one window of a photograph with random pixels, which identify the window and the scale."""
    pixels = np.random.default_rng(0).integers(0, 256, (220, 250, 3), dtype=np.uint8)
    folder = photograph(tmp_path / "frost", pixels)
    out = corrupt(np.full((1, 3, side, side), 100, np.uint8), "frost", severity, 0, "train", frost_folder=folder)[0]
    (scaled,) = load_photographs(folder, scale, side, side)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (side, side), axis=(0, 1)).reshape(-1, 3, side, side)
    scene, ice = FROST[side, scale][severity - 1]
    assert sum(within_one_level(out, scene * 100 + ice * window) for window in windows.astype(float)) == 1


def test_frost_needs_photographs(tmp_path: Path) -> None:
    images = np.zeros((1, 3, 32, 32), np.uint8)
    with pytest.raises(ValueError, match="frost_folder: corruption 'frost' needs a folder"):
        corrupt(images, "frost", 1, 0, "train")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"frost_folder: no photograph \(\.bmp, .*, \.webp\) in"):
        corrupt(images, "frost", 1, 0, "train", frost_folder=tmp_path)
    with pytest.raises(ValueError, match="frost_folder: no photograph"):
        corrupt(images, "frost", 1, 0, "train", frost_folder=tmp_path / "nowhere")
    photograph(tmp_path, np.zeros((160, 155, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"'ice\.png' of 155x160 pixels is 31x32 at scale 0\.2, smaller than the images \(32x32\)"
    ):
        corrupt(images, "frost", 1, 0, "train", frost_folder=tmp_path)
