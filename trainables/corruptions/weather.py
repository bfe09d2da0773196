"""Snow, frost and fog (Hendrycks & Dietterich, ICLR 2019, section 4.1).

Functions take uint8 images [N, H, W, 3] and give grey levels, still to be clipped and truncated to uint8.

Departures from the released code (``make_cifar_c.py``, ``make_tinyimagenet_c.py``): frost draws from all photographs
(the reference never shows the last of its six), which the user brings, and from all windows (the reference never shows
the last row and the last column of a photograph); snow moves without ImageMagick (see
:mod:`trainables.corruptions.blur`; at equal random numbers .2 % of the values differ, by 1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sparsweep.trainables.corruptions.filters import clipped_zoom, imagemagick_motion_blur, transformed
from sparsweep.trainables.corruptions.pixels import luma, to_uint8
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs


def snow(
    images: np.ndarray,
    sources: CorruptionInputs,
    mean: float,
    sd: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    kept: float,
) -> np.ndarray:
    """Flakes where enlarged normal noise exceeds ``threshold``, smeared downwards, over a scene gone pale.

    ``kept`` is the weight of the scene as it was against the pale one. The flakes fall once more turned by 180 degrees.
    """
    height, width = images.shape[1:3]
    noise = mean + sd * sources.normal(height, width, 1)
    noise = transformed(noise, clipped_zoom(height, width, zoom))
    flakes = to_uint8(255 * np.where(noise < threshold, 0, noise))
    flakes = to_uint8(imagemagick_motion_blur(flakes, sources.uniform(-135, -45), radius, sigma))
    pale = np.maximum(images, 1.5 * luma(images) + 127.5)
    return kept * images + (1 - kept) * pale + flakes + flakes[:, ::-1, ::-1]


def frost(images: np.ndarray, sources: CorruptionInputs, scene: float, ice: float) -> np.ndarray:
    """``scene`` times the image plus ``ice`` times a random window of a random photograph of frost."""
    height, width = images.shape[1:3]

    def window(stream: np.random.Generator) -> np.ndarray:
        photograph = sources.photographs[int(stream.integers(len(sources.photographs)))]
        top = stream.integers(photograph.shape[0] - height + 1)
        left = stream.integers(photograph.shape[1] - width + 1)
        return photograph[top : top + height, left : left + width]

    return scene * images + ice * sources.each(window)


def load_photographs(folder: str | Path | None, scale: float, height: int, width: int) -> list[np.ndarray]:
    """The photographs in ``folder``, by name, as uint8 RGB, made smaller by the factor ``scale``.

    ValueError if there are none, or one is then smaller than ``height`` x ``width`` pixels.
    """
    if folder is None:
        raise ValueError("frost_folder: corruption 'frost' needs a folder with your own photographs of frost, got none")
    from sparsweep.trainables.data.image_files import SUFFIXES, find_images, read_image  # with pydantic

    paths = find_images(Path(folder)).images.values() if Path(folder).is_dir() else ()
    if not paths:
        raise ValueError(f"frost_folder: no photograph ({', '.join(SUFFIXES)}) in {str(folder)!r}")
    return [_scaled(read_image(path), path.name, scale, height, width) for path in paths]


def _scaled(image: Image.Image, name: str, scale: float, height: int, width: int) -> np.ndarray:
    size = round(image.width * scale), round(image.height * scale)
    # Where the size is rounded up, the last samples lie on the edge, which PIL takes for black: go on beyond it.
    pixels = np.pad(np.asarray(image), ((0, 1), (0, 1), (0, 0)), mode="edge")
    # Sampled, not averaged, as by OpenCV's bilinear resize: the crystals stay sharp.
    sampled = Image.fromarray(pixels).transform(
        size, Image.Transform.AFFINE, (1 / scale, 0, 0, 0, 1 / scale, 0), Image.Resampling.BILINEAR
    )
    if size[0] < width or size[1] < height:
        scaled = f"{name!r} of {image.width}x{image.height} pixels is {size[0]}x{size[1]} at scale {scale}"
        raise ValueError(f"frost_folder: {scaled}, smaller than the images of {width}x{height}")
    return np.asarray(sampled)


def fog(images: np.ndarray, sources: CorruptionInputs, thickness: float, decay: float) -> np.ndarray:
    """A plasma fractal of ``thickness`` times white is added, and the image's brightest value is restored."""
    height, width = images.shape[1:3]
    size = 1 << (max(height, width) - 1).bit_length()
    haze = 255 * thickness * plasma(sources, size, decay)[:, :height, :width, None]
    brightest = images.max(axis=(1, 2, 3), keepdims=True).astype(float)
    return (images + haze) * (brightest / (brightest + 255 * thickness))


def plasma(sources: CorruptionInputs, size: int, decay: float) -> np.ndarray:
    """Height maps [N, size, size] in [0, 1] by the diamond-square algorithm; ``size`` is a power of two.

    Every point is the mean of four neighbours at half the distance of the step before, plus a uniform number of an
    amplitude that shrinks by ``decay`` squared with every step; the map continues on the other side (a torus).
    """
    heights = np.zeros((len(sources.indices), size, size))
    step, wobble = size, 100.0

    def between(*neighbours: np.ndarray) -> np.ndarray:
        total = sum(neighbours[1:], start=neighbours[0])
        return total / 4 + wobble * sources.uniform(-wobble, wobble, *total.shape[1:])

    while step > 1:
        half = step // 2
        corners = heights[:, ::step, ::step]
        below, right = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=2)
        centres = between(corners, below, right, np.roll(below, -1, axis=2))
        heights[:, half::step, half::step] = centres
        heights[:, ::step, half::step] = between(corners, right, centres, np.roll(centres, 1, axis=1))
        heights[:, half::step, ::step] = between(corners, below, centres, np.roll(centres, 1, axis=2))
        step, wobble = half, wobble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)
