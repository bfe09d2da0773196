"""Image files: which files of a folder are images, and how they become pixels. All readers use these rules.

Listing: image files end in one of :data:`SUFFIXES`; subfolders are searched too. Hidden files and folders (leading dot)
are ignored. All other files, and links to folders, are skipped; :func:`warn_left_out` logs them. Names are converted to
Unicode's composed form (NFC), because macOS and Linux store the same name with different bytes.

Pixels: 8-bit RGB, rotated by the EXIF orientation. Gray is repeated, 16-bit gray is divided by 257, transparent pixels
are blended with white, and a file with several images yields the first one. Images with 32-bit integers or floats raise
an error, because the value of white is unknown.
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
"""Maximum number of skipped files whose names are in a warning."""


# Listing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFiles:
    """Listing of a folder.

    Attributes:
        images: Paths by name (``cat/0.png``), sorted by name.
        left_out: Names of skipped files and links.
    """

    images: Mapping[str, Path]
    left_out: tuple[str, ...]

    def under(self, prefix: str) -> ImageFiles:
        """Return this listing with ``prefix`` added to every name (the names in a parent folder)."""
        images = {prefix + name: path for name, path in self.images.items()}
        return ImageFiles(images, tuple(prefix + name for name in self.left_out))


def find_images(folder: Path) -> ImageFiles:
    """List ``folder`` and its subfolders.

    Raises:
        CorruptDataError: A name is not UTF-8, or two names have the same composed form.
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
                raise CorruptDataError(
                    f"{folder}: two files have the name {name!r} in different Unicode forms. Rename one."
                )
            images[name] = path
    return ImageFiles(dict(sorted(images.items())), tuple(sorted(left_out)))


def normalize_name(name: str, folder: Path) -> str:
    """Return a file name in Unicode's composed form (NFC).

    Args:
        name: Name of the file or folder.
        folder: Its parent folder, for the error message.

    Raises:
        CorruptDataError: The name is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CorruptDataError(f"{folder}: a name is not UTF-8 (got {printable(name)}). Rename the file.") from None
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    r"""Return ``name`` with every byte that is not UTF-8 escaped, e.g. ``\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_hidden(name: str) -> bool:
    """Return whether a file name has a leading dot."""
    return name.startswith(".")


@cache
def warn_left_out(folder: Path, left_out: tuple[str, ...]) -> None:
    """Log the number of skipped files of ``folder`` and the first names, once per process."""
    if left_out:
        names = ", ".join(printable(name) for name in left_out[:NAMED])
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        formats = ", ".join(SUFFIXES)
        log.warning("%s: %d skipped: %s%s. Image files end in %s.", folder, len(left_out), names, more, formats)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _fail(error: OSError) -> NoReturn:
    raise error


# Pixels --------------------------------------------------------------------------------------------------------------


def read_image(path: Path) -> Image.Image:
    """Return an image file as 8-bit RGB, rotated by its EXIF orientation.

    Raises:
        CorruptDataError: The file cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            wide = image.mode == "I" and image.format == "PPM"  # in PPM, white is 65,535
            upright = ImageOps.exif_transpose(image)
            return _as_rgb(_eight_bits(upright) if wide or image.mode.startswith("I;16") else upright)
    except Exception as error:  # Pillow's decoders raise many types of errors on damaged files
        raise CorruptDataError(f"{path} cannot be decoded: {' '.join(str(error).split())}") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"the value of white is unknown for 32-bit pixels (mode {image.mode}), save 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
