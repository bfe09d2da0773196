"""Cache of decoded images: decoded once, decoded again if invalid, and never stored partially."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from sparsweep.trainables.data import CorruptDataError, DataError, image_cache
from support.tiny_datasets import picture

NAMES = [f"{index}.png" for index in range(7)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for index, name in enumerate(NAMES):
        picture(8, index).save(tmp_path / "images" / name)
    return tmp_path / "images"


def read(folder: Path, names: list[str] = NAMES) -> np.ndarray:
    return image_cache.load_or_decode([folder / name for name in names], 8, folder.parent / "cache", "replace it")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Yield the list of images that were decoded so far."""
    calls: list[Path] = []
    decode = image_cache.decode_image
    monkeypatch.setattr(image_cache, "decode_image", lambda path, size: (calls.append(path), decode(path, size))[1])
    yield calls


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_images_are_in_the_order_of_the_names(chunk: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache, "DECODE_CHUNK", chunk)
    names = NAMES[::-1]
    expected = np.stack([image_cache.decode_image(folder / name, 8) for name in names])
    assert np.array_equal(read(folder, names), expected)
    assert not np.array_equal(expected, expected[::-1])


def test_images_are_decoded_once(folder: Path, decoded: list[Path]) -> None:
    first = read(folder)
    assert len(decoded) == 7
    assert np.array_equal(read(folder), first) and len(decoded) == 7
    assert len(list((folder.parent / "cache").iterdir())) == 1


def test_other_names_give_another_array(folder: Path) -> None:
    assert len(read(folder)) == 7 and len(read(folder, NAMES[:3])) == 3
    assert np.array_equal(read(folder)[:3], read(folder, NAMES[:3]))


@pytest.mark.parametrize("edit", [lambda content: content[:-1], lambda _: b"", lambda _: b"\x93NUMPY"])
def test_a_damaged_array_is_decoded_again(edit: Any, folder: Path, decoded: list[Path]) -> None:
    first = read(folder).copy()
    (path,) = (folder.parent / "cache").iterdir()
    path.write_bytes(edit(path.read_bytes()))
    assert np.array_equal(read(folder), first) and len(decoded) == 14


def test_the_array_is_read_only(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read(folder)[0] = 0


def test_an_array_of_an_older_rule_is_decoded_again(
    folder: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(folder)
    monkeypatch.setattr(image_cache, "RULE", image_cache.RULE + 1)
    read(folder)
    assert len(decoded) == 14


def test_an_invalid_image_leaves_no_file(folder: Path) -> None:
    (folder / NAMES[4]).write_bytes(b"no picture")
    with pytest.raises(CorruptDataError, match=r"images/4\.png cannot be decoded: [^\n]*; replace it$"):
        read(folder)
    assert not list((folder.parent / "cache").iterdir())


def test_a_full_disk_is_reported_and_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_header(file: IO[bytes], header: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", write_header)
    with pytest.raises(DataError, match=r"\.npy cannot be written: No space left on device$"):
        read(folder)
    assert not list((folder.parent / "cache").iterdir())


def test_a_cache_folder_that_cannot_be_created_is_reported(folder: Path) -> None:
    (folder.parent / "cache").write_text("a file is in the way")
    with pytest.raises(DataError, match=r"cache/.*\.npy cannot be written: "):
        read(folder)
