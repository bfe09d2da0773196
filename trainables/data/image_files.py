"""Files of images: which files of a folder are images, and what their pixels are. All readers share these two rules.

Listing: images end in one of :data:`SUFFIXES` and lie in the folder or below it. Hidden files and folders (a dot in
front) are no part of a folder. All other files, and links to folders, are left out, and :func:`warn_left_out` names
them. A name is known in Unicode's composed form (NFC), for one name has other bytes on macOS than on Linux.

Pixels: 8-bit RGB, upright by the orientation that cameras write (EXIF). Grey is repeated, 16-bit grey is divided by
257, transparent pixels are laid on white, and a file of several pictures stands for its first. Whole numbers of 32 bits
and fractions have no known white and are refused.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from sparsweep.trainables.data.paths import CorruptDataError

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NAMED = 3
"""Files left out that a warning names, before it counts the rest."""


# Listing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFiles:
    """What a folder holds: its images by name (``cat/0.png``), in order, and the names of what is left out."""

    images: Mapping[str, Path]
    left_out: tuple[str, ...]

    def under(self, prefix: str) -> ImageFiles:
        """Return the same with ``prefix`` in front of every name, as a folder above has them."""
        images = {prefix + name: path for name, path in self.images.items()}
        return ImageFiles(images, tuple(prefix + name for name in self.left_out))


def find_images(folder: Path) -> ImageFiles:
    """List ``folder`` and the folders below it.

    Raises:
        DamagedData: A name is not UTF-8, or two names are the same in composed form.
        OSError: A folder cannot be read.
    """
    images: dict[str, Path] = {}
    left_out: list[str] = []
    for place, folders, files in os.walk(folder, onerror=_fail):
        folders[:] = [name for name in folders if not is_hidden(name)]
        left_out += [_name(folder, Path(place, name)) + "/" for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in files if not is_hidden(name)):
            if path.suffix.lower() not in SUFFIXES:
                left_out.append(_name(folder, path))
                continue
            name = normalize_name(_name(folder, path), folder)
            if name in images:
                raise CorruptDataError(f"{folder}: two files are named {name!r}, in two forms of Unicode. Rename one.")
            images[name] = path
    return ImageFiles(dict(sorted(images.items())), tuple(sorted(left_out)))


def normalize_name(name: str, folder: Path) -> str:
    """Return ``name``, of a thing in ``folder``, in Unicode's composed form. Raises DamagedData if it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CorruptDataError(f"{folder}: a name is not UTF-8 (got {printable(name)}). Rename the file.") from None
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    """Return ``name`` with ``\\xe9`` in place of a byte that is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_hidden(name: str) -> bool:
    return name.startswith(".")


@cache
def warn_left_out(folder: Path, left_out: tuple[str, ...]) -> None:
    """Log, once a process, how many files of ``folder`` are left out, and the first of their names."""
    if left_out:
        names = ", ".join(printable(name) for name in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        formats = ", ".join(SUFFIXES)
        log.warning("%s: %d left out: %s%s. Images end in %s.", folder, len(left_out), names, more, formats)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _fail(error: OSError) -> NoReturn:
    raise error


# Pixels --------------------------------------------------------------------------------------------------------------


def read_image(path: Path) -> Image.Image:
    """Return the image in ``path`` as RGB of 8 bits, upright. Raises DamagedData if it cannot be decoded."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            wide = image.mode == "I" and image.format == "PPM"  # the one format that says that white is 65,535
            upright = ImageOps.exif_transpose(image)
            return _as_rgb(_eight_bits(upright) if wide or image.mode.startswith("I;16") else upright)
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise CorruptDataError(f"{path} cannot be decoded: {' '.join(str(error).split())}") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"which value is white is not known of pixels of 32 bits (mode {image.mode}), save 8 or 16")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
