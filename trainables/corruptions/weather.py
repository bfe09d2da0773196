"""Snow, frost and fog (Hendrycks & Dietterich, ICLR 2019, section 4.1).

Functions take uint8 images (N, H, W, 3) and return gray levels, not yet clipped and truncated to uint8.

Departures from the released code (``make_cifar_c.py``, ``make_tinyimagenet_c.py``):

- Frost uses all photographs, which the user provides. The reference code never uses the last of its six photographs.
- Frost uses all windows. The reference code never uses the last row and the last column of a photograph.
- The motion blur of snow reimplements ImageMagick (see :mod:`trainables.corruptions.blur`). At equal random numbers,
  0.2 % of the values differ, by 1.
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
    """Add snowflakes to a paler image. Flakes are enlarged normal noise above a threshold, with motion blur downwards.

    The flakes are added twice: once as drawn, once rotated by 180 degrees.

    Args:
        images: uint8 (N, H, W, 3).
        sources: Random streams.
        mean: Mean of the noise.
        sd: Standard deviation of the noise.
        zoom: Factor of the enlargement.
        threshold: Minimum noise of a flake.
        radius: Radius of the motion blur in pixels.
        sigma: Standard deviation of the motion blur in pixels.
        kept: Weight of the original image; the pale image has weight 1 - ``kept``.
    """
    height, width = images.shape[1:3]
    noise = mean + sd * sources.normal(height, width, 1)
    noise = transformed(noise, clipped_zoom(height, width, zoom))
    flakes = to_uint8(255 * np.where(noise < threshold, 0, noise))
    flakes = to_uint8(imagemagick_motion_blur(flakes, sources.uniform(-135, -45), radius, sigma))
    pale = np.maximum(images, 1.5 * luma(images) + 127.5)
    return kept * images + (1 - kept) * pale + flakes + flakes[:, ::-1, ::-1]


def frost(images: np.ndarray, sources: CorruptionInputs, scene: float, ice: float) -> np.ndarray:
    """Return ``scene`` times the image plus ``ice`` times a random window of a random photograph of frost."""
    height, width = images.shape[1:3]

    def window(stream: np.random.Generator) -> np.ndarray:
        photograph = sources.photographs[int(stream.integers(len(sources.photographs)))]
        top = stream.integers(photograph.shape[0] - height + 1)
        left = stream.integers(photograph.shape[1] - width + 1)
        return photograph[top : top + height, left : left + width]

    return scene * images + ice * sources.each(window)


def load_photographs(folder: str | Path | None, scale: float, height: int, width: int) -> list[np.ndarray]:
    """Load the photographs of a folder as uint8 RGB (H, W, 3), sorted by name and scaled.

    Args:
        folder: The folder.
        scale: Scale factor, below 1.
        height: Minimum height after scaling, in pixels.
        width: Minimum width after scaling, in pixels.

    Raises:
        ValueError: There is no folder or no photograph, or a scaled photograph is too small.
    """
    if folder is None:
        raise ValueError("frost_folder: corruption 'frost' needs a folder with photographs of frost (got none)")
    from sparsweep.trainables.data.image_files import SUFFIXES, find_images, read_image  # imports pydantic

    paths = find_images(Path(folder)).images.values() if Path(folder).is_dir() else ()
    if not paths:
        raise ValueError(f"frost_folder: no photograph ({', '.join(SUFFIXES)}) in {str(folder)!r}")
    return [_scaled(read_image(path), path.name, scale, height, width) for path in paths]


def _scaled(image: Image.Image, name: str, scale: float, height: int, width: int) -> np.ndarray:
    size = round(image.width * scale), round(image.height * scale)
    # If the size is rounded up, the last samples are on the border, which PIL treats as black: pad by one pixel.
    pixels = np.pad(np.asarray(image), ((0, 1), (0, 1), (0, 0)), mode="edge")
    # Sampling without averaging, as in OpenCV's bilinear resize, keeps the crystals sharp.
    sampled = Image.fromarray(pixels).transform(
        size, Image.Transform.AFFINE, (1 / scale, 0, 0, 0, 1 / scale, 0), Image.Resampling.BILINEAR
    )
    if size[0] < width or size[1] < height:
        scaled = f"{name!r} of {image.width}x{image.height} pixels is {size[0]}x{size[1]} at scale {scale}"
        raise ValueError(f"frost_folder: {scaled}, smaller than the images ({width}x{height}). Use larger photographs.")
    return np.asarray(sampled)


def fog(images: np.ndarray, sources: CorruptionInputs, thickness: float, decay: float) -> np.ndarray:
    """Add a plasma fractal, then scale each image to its original maximum.

    Args:
        images: uint8 (N, H, W, 3).
        sources: Random streams.
        thickness: Maximum of the fractal, as a fraction of white.
        decay: Decay of the fractal's amplitude (see :func:`plasma`).
    """
    height, width = images.shape[1:3]
    size = 1 << (max(height, width) - 1).bit_length()
    haze = 255 * thickness * plasma(sources, size, decay)[:, :height, :width, None]
    brightest = images.max(axis=(1, 2, 3), keepdims=True).astype(float)
    return (images + haze) * (brightest / (brightest + 255 * thickness))


def plasma(sources: CorruptionInputs, size: int, decay: float) -> np.ndarray:
    """Return height maps (N, size, size) in [0, 1] by the diamond-square algorithm, with periodic borders.

    Every step halves the distance between points. A new point is the mean of four neighbors plus a uniform random
    number. The amplitude of this number shrinks by ``decay`` squared per step.

    Args:
        sources: Random streams.
        size: Side of the maps, a power of two.
        decay: Square root of the amplitude's decay per step.
    """
    heights = np.zeros((len(sources.indices), size, size))
    step, wobble = size, 100.0

    def between(*neighbors: np.ndarray) -> np.ndarray:
        total = sum(neighbors[1:], start=neighbors[0])
        return total / 4 + wobble * sources.uniform(-wobble, wobble, *total.shape[1:])

    while step > 1:
        half = step // 2
        corners = heights[:, ::step, ::step]
        below, right = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=2)
        centers = between(corners, below, right, np.roll(below, -1, axis=2))
        heights[:, half::step, half::step] = centers
        heights[:, ::step, half::step] = between(corners, right, centers, np.roll(centers, 1, axis=1))
        heights[:, half::step, ::step] = between(corners, below, centers, np.roll(centers, 1, axis=2))
        step, wobble = half, wobble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)
