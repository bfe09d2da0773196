"""Small datasets in the file formats of the published ones, with matching sizes and checksums.

A writer ``small_*(patch, root)`` writes the files under ``root`` and sets the dataset's class attributes, so that the
files are accepted as the published ones. ``patch`` is a :class:`pytest.MonkeyPatch`.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from sparsweep.trainables.data import datasets

CIFAR_TRAIN, CIFAR_TEST = 200, 100
TINY_CLASSES, TINY_PER_CLASS, TINY_TEST = 4, 6, 8
FOLDER_CLASSES = ("cat", "dog", "eel")
FOLDER_TRAIN, FOLDER_TEST = 5, 3
"""Number of images per class."""


Serve = Callable[[Path], str]
"""Function that serves a folder over HTTP on this machine and returns its address."""


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes text and bytes as the ``str`` of Python 2, as in the published files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_python2_str(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        head = b"U" + bytes([len(content)]) if len(content) < 256 else b"T" + struct.pack("<i", len(content))
        self.write(head + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_python2_str


def python2_pickle(value: Any) -> bytes:
    """Pickle ``value`` with protocol 2, as Python 2 and its NumPy did."""
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write_batches(patch: pytest.MonkeyPatch, root: Path, name: str, part: str, contents: dict[str, bytes]) -> None:
    """Write the files of one part (``train_files`` or ``test_files``) and set the dataset's checksums to theirs."""
    cls: Any = datasets[name]
    (root / cls.folder).mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (root / cls.folder / file).write_bytes(content)
    patch.setattr(cls, part, {file: md5(content) for file, content in contents.items()})


def cifar_batch(count: int, classes: int, key: str, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    labels = [int(label) for label in random.permutation(np.arange(count) % classes)]
    return {
        "batch_label": f"batch {seed}",
        key: labels,
        "data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
        "filenames": [f"{seed}_{index}.png" for index in range(count)],
    }


def small_cifar(patch: pytest.MonkeyPatch, root: Path, name: str) -> list[dict[str, Any]]:
    """Write five training files (or one) and one test file. Return their contents in order."""
    cls: Any = datasets[name]
    key, parts = cls.label_key.decode(), len(cls.train_files)
    train = [cifar_batch(CIFAR_TRAIN // parts, cls.class_count, key, seed) for seed in range(parts)]
    test = cifar_batch(CIFAR_TEST, cls.class_count, key, 99)
    names = list(cls.train_files), list(cls.test_files)
    contents = {file: python2_pickle(batch) for file, batch in zip(names[0], train, strict=True)}
    write_batches(patch, root, name, "train_files", contents)
    write_batches(patch, root, name, "test_files", {names[1][0]: python2_pickle(test)})
    patch.setattr(cls, "train_images", CIFAR_TRAIN)
    patch.setattr(cls, "test_images", CIFAR_TEST)
    return [*train, test]


def picture(size: int, seed: int, mode: str = "RGB") -> Image.Image:
    """Return a smooth gradient from black to white that JPEG hardly changes. Its direction depends on the seed."""
    rows, columns = np.mgrid[:size, :size] / (size - 1)
    share = (seed % 7) / 6
    grey = np.round(255 * (share * rows + (1 - share) * columns)).astype(np.uint8)
    colour = np.stack([grey, np.roll(grey, seed, 0), grey[::-1]], axis=2)
    return Image.fromarray(colour).convert(mode)


def small_tinyimagenet(patch: pytest.MonkeyPatch, root: Path) -> Path:
    """Write files with the class and file names of the archive; one training image is gray. Return the folder."""
    cls: Any = datasets["tinyimagenet"]
    folder: Path = root / cls.folder
    wnids = [f"n0{1443537 + number}" for number in range(TINY_CLASSES)]
    for number, wnid in enumerate(wnids):
        (folder / "train" / wnid / "images").mkdir(parents=True)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("boxes are not read\n")
        for index in range(TINY_PER_CLASS):
            mode = "L" if (number, index) == (1, 2) else "RGB"
            image = picture(64, number * TINY_PER_CLASS + index, mode)
            image.save(folder / "train" / wnid / "images" / f"{wnid}_{index}.JPEG")
    (folder / "val" / "images").mkdir(parents=True)
    lines = []
    for index in range(TINY_TEST):
        picture(64, 50 + index).save(folder / "val" / "images" / f"val_{index}.JPEG")
        lines.append(f"val_{index}.JPEG\t{wnids[(index + 3) % TINY_CLASSES]}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(wnids)))
    patch.setattr(cls, "train_images", TINY_CLASSES * TINY_PER_CLASS)
    patch.setattr(cls, "test_images", TINY_TEST)
    patch.setattr(cls, "class_count", TINY_CLASSES)
    return folder


def small_imagefolder(root: Path) -> Path:
    """Write PNG and JPEG images of several sizes and modes, and files that are no images. Return the folder."""
    folder = root / "pictures"
    for number, name in enumerate(FOLDER_CLASSES):
        for part, count in (("train", FOLDER_TRAIN), ("test", FOLDER_TEST)):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                mode = ("RGB", "L", "RGBA")[index % 3]
                suffix = "png" if mode == "RGBA" else ("png", "jpg", "JPEG")[index % 3]
                image = picture(16 + 4 * index, 10 * number + index, mode).resize((16 + 4 * index, 16 + 2 * index))
                image.save(folder / part / name / f"{index}.{suffix}")
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    (folder / "train" / "cat" / "._0.png").write_text("no image either, though it has the name of one")
    (folder / "README").write_text("no class")
    return folder


def small_arrays(root: Path) -> Path:
    """Write a file in the form of MedMNIST: gray images, labels of shape (N, 1), validation images. Return its path."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 40), ("val", 8), ("test", 20)):
        arrays[f"{part}_images"] = random.integers(0, 256, (count, 12, 12), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 4
        arrays[f"{part}_images"][0, 0, :2] = 0, 255
    path = root / "arrays.npz"
    np.savez_compressed(path, **arrays)
    return path


WRITERS: dict[str, Callable[[pytest.MonkeyPatch, Path], Any]] = {
    "arrays": lambda patch, root: small_arrays(root),
    "cifar10": lambda patch, root: small_cifar(patch, root, "cifar10"),
    "cifar100": lambda patch, root: small_cifar(patch, root, "cifar100"),
    "digits": lambda patch, root: None,  # part of scikit-learn
    "imagefolder": lambda patch, root: small_imagefolder(root),
    "tinyimagenet": small_tinyimagenet,
}
