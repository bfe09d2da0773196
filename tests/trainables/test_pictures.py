"""Image files: which files count as images, and the expected pixels of every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsweep.trainables.data import CorruptDataError
from sparsweep.trainables.data.image_files import find_images, read_image, warn_left_out

SQUARE = np.array([[0, 100], [200, 255]], np.uint8)


def pixels(path: Path) -> list[list[list[int]]]:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def gray(*rows: list[int]) -> list[list[list[int]]]:
    return [[[value] * 3 for value in row] for row in rows]


# Pixels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_gray_becomes_8_bit(suffix: str, tmp_path: Path) -> None:
    """Black is 0 and white is 65,535 = 255 * 257, in every format."""
    Image.fromarray(np.array([[0, 256], [257 * 100, 65535]], np.uint16)).save(tmp_path / f"a.{suffix}")
    assert pixels(tmp_path / f"a.{suffix}") == gray([0, 1], [100, 255])


def test_big_endian_16_bit_is_read(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), np.array([257 * 7, 65535], ">u2").tobytes())
    image.save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif") == gray([7, 255])


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_with_unknown_white_are_an_error(kind: type, tmp_path: Path) -> None:
    Image.fromarray(SQUARE.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(
        CorruptDataError, match=r"a\.tif cannot be decoded: the value of white is unknown .* save 8 or 16 bits$"
    ):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "webp"])
def test_gray_is_repeated_in_all_channels(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(SQUARE).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert pixels(tmp_path / f"a.{suffix}") == gray([0, 100], [200, 255])


def test_1_bit_image_is_read(tmp_path: Path) -> None:
    Image.fromarray(SQUARE > 150).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png") == gray([0, 0], [255, 255])


ORIENTATIONS = {
    1: [[0, 100], [200, 255]],
    2: [[100, 0], [255, 200]],
    3: [[255, 200], [100, 0]],
    4: [[200, 255], [0, 100]],
    5: [[0, 200], [100, 255]],
    6: [[200, 0], [255, 100]],
    7: [[255, 100], [200, 0]],
    8: [[100, 255], [0, 200]],
}
"""SQUARE as a viewer shows it, by EXIF orientation."""


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(SQUARE).save(tmp_path / "a.png", exif=exif)
    assert pixels(tmp_path / "a.png") == gray(*ORIENTATIONS[orientation])


def test_transparent_pixels_are_composed_on_white(tmp_path: Path) -> None:
    """Opaque red, half-transparent blue, and a fully transparent pixel with a hidden color."""
    rgba = np.array([[[255, 0, 0, 255], [0, 0, 255, 128], [1, 2, 3, 0]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png") == [[[255, 0, 0], [127, 127, 255], [255, 255, 255]]]


def test_transparent_palette_color_is_composed_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    assert pixels(tmp_path / "a.png") == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_first_frame_of_several_is_read(suffix: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (2, 2), "lime"), Image.new("RGB", (2, 2), "red")
    lossless = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second], **lossless)
    assert pixels(tmp_path / f"a.{suffix}")[0][0] == [0, 255, 0]


# Listing -------------------------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_images_are_found_in_subfolders_and_sorted_by_name(tmp_path: Path) -> None:
    names = ("b.PNG", "a/2.jpeg", "a/10.webp", "c.tiff", "a/b/c.bmp", "d.ppm")
    listing = find_images(touch(tmp_path, *names))
    assert list(listing.images) == ["a/10.webp", "a/2.jpeg", "a/b/c.bmp", "b.PNG", "c.tiff", "d.ppm"]
    assert all(path == tmp_path / name for name, path in listing.images.items()) and listing.left_out == ()


def test_hidden_files_are_ignored_and_other_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "0.png", ".DS_Store", "._0.png", ".cache/0.png", "Thumbs.db", "a/film.gif", "LICENCE")
    (tmp_path / "loop").symlink_to(tmp_path)
    listing = find_images(tmp_path)
    assert list(listing.images) == ["0.png"] and listing.left_out == ("LICENCE", "Thumbs.db", "a/film.gif", "loop/")


def test_warning_states_the_count_and_some_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_left_out(tmp_path, ())
    warn_left_out(tmp_path, ("a", "caf\udce9", "c", "d", "e"))
    warn_left_out(tmp_path, ("a", "caf\udce9", "c", "d", "e"))
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"{tmp_path}: 5 skipped: a, caf\\xe9, c and 2 more. Image files end in .bmp, "
    )


def test_names_are_normalized_to_composed_unicode(tmp_path: Path) -> None:
    listing = find_images(touch(tmp_path, "cafe\u0301/u\u0308.png"))
    assert listing.images == {"caf\u00e9/\u00fc.png": tmp_path / "cafe\u0301/u\u0308.png"}
    touch(tmp_path, "caf\u00e9/u\u0308.png")
    with pytest.raises(
        CorruptDataError, match=r"two files have the name 'caf\u00e9/\u00fc\.png' in different Unicode forms"
    ):
        find_images(tmp_path)


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_images(tmp_path / "none")
