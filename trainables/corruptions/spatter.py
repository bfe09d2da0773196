"""Spatter: drops of water or splashes of mud on the lens (Hendrycks & Dietterich, ICLR 2019, extra corruptions).

Functions take uint8 images (N, H, W, 3) and return gray levels, not yet clipped and truncated to uint8. The highlights
of water depend on the distance to the outline of a drop. The reference code calls OpenCV for them; this module
reimplements the necessary steps for small arrays, with OpenCV's conventions.

Departures from the released code (``make_cifar_c.py``, ``make_tinyimagenet_c.py``): liquid above white is white (there,
uint8 overflow makes it black). An image without drops does not change (there, it is divided by zero).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sparsweep.trainables.corruptions.filters import gaussian
from sparsweep.trainables.corruptions.pixels import to_uint8
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs
from sparsweep.trainables.lazy import ndimage

WATER = np.array([175, 238, 238])  # pale turquoise
MUD = np.array([63, 42, 20])
CANNY_LOW, CANNY_HIGH = 50, 150
FAR = 20.0  # pixels: larger distances do not change the highlights
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
TAN_22_5, TAN_67_5 = np.tan(np.deg2rad([22.5, 67.5]))


def spatter(
    images: np.ndarray,
    sources: CorruptionInputs,
    mean: float,
    sd: float,
    sigma: float,
    threshold: float,
    strength: float,
    muddy: int,
) -> np.ndarray:
    """Add liquid where normal noise, blurred by a Gaussian, exceeds a threshold.

    Args:
        images: uint8 (N, H, W, 3).
        sources: Random streams.
        mean: Mean of the noise.
        sd: Standard deviation of the noise.
        sigma: Standard deviation of the Gaussian in pixels.
        threshold: Minimum noise of liquid.
        strength: Brightness of water, or standard deviation in pixels of the blur at the edges of mud.
        muddy: 1 for mud, 0 for water.
    """
    noise = mean + sd * sources.normal(*images.shape[1:3], 1)
    liquid = gaussian(noise, sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    return add_mud(images, liquid > threshold, strength) if muddy else add_water(images, liquid, strength)


def add_mud(images: np.ndarray, splashes: np.ndarray, sigma: float) -> np.ndarray:
    """Add brown mud where the blurred splashes cover at least 0.8.

    Args:
        images: uint8 (N, H, W, 3).
        splashes: bool (N, H, W, 1).
        sigma: Standard deviation of the blur in pixels.
    """
    cover = gaussian(splashes, sigma)
    cover = np.where(cover < 0.8, 0, cover)
    return images * (1 - cover) + MUD * cover


def add_water(images: np.ndarray, liquid: np.ndarray, strength: float) -> np.ndarray:
    """Add turquoise light where there is liquid.

    Args:
        images: uint8 (N, H, W, 3).
        liquid: (N, H, W, 1) in [0, 1].
        strength: Maximum brightness of the light, as a fraction of turquoise.
    """
    levels = to_uint8(255 * liquid)[..., 0]
    light = np.stack([layer * water_highlights(layer) for layer in levels])[..., None]
    brightest = light.max(axis=(1, 2, 3), keepdims=True)
    return images + strength * WATER * light / np.maximum(brightest, 1)


def water_highlights(layer: np.ndarray) -> np.ndarray:
    """Return the highlights of a layer of drops (uint8 (H, W)): integers in [0, 255] as float32 (H, W)."""
    distances = np.minimum(outline_distances(canny_edges(layer)), FAR)
    relief = equalized(_box(distances).astype(np.uint8))
    embossed = ndimage.correlate(relief.astype(np.float32), EMBOSS, mode="mirror")
    return np.rint(_box(np.clip(embossed, 0, 255)))


def _box(values: np.ndarray) -> np.ndarray:
    """Return the mean over 3x3 pixels, mirrored at edge pixels. Equals OpenCV's blur."""
    return ndimage.uniform_filter(values.astype(np.float32), 3, mode="mirror")


def canny_edges(layer: np.ndarray) -> np.ndarray:
    """Return the edges of a uint8 image (H, W) as bool (H, W): Canny's detector, Sobel gradients with |dx| + |dy|.

    The gradient of an edge pixel exceeds the gradients of its two neighbors across the edge. It also exceeds
    ``CANNY_HIGH``, or it exceeds ``CANNY_LOW`` and is 8-connected, through edge pixels, to one above ``CANNY_HIGH``.
    """
    across = ndimage.sobel(layer.astype(int), axis=1, mode="nearest")
    down = ndimage.sobel(layer.astype(int), axis=0, mode="nearest")
    size = np.abs(across) + np.abs(down)
    height, width = layer.shape
    padded = np.pad(size, 1)  # the gradient outside the image is 0

    def neighbor(rows: int, columns: int) -> np.ndarray:
        return padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    # OpenCV's ties: a pixel may equal its right or lower neighbor, but no diagonal neighbor.
    horizontal = (size > neighbor(0, -1)) & (size >= neighbor(0, 1))
    vertical = (size > neighbor(-1, 0)) & (size >= neighbor(1, 0))
    falling = (size > neighbor(-1, -1)) & (size > neighbor(1, 1))
    rising = (size > neighbor(-1, 1)) & (size > neighbor(1, -1))
    steep = np.abs(down) / np.maximum(np.abs(across), 1e-9)
    crest = np.select(
        [steep < TAN_22_5, steep > TAN_67_5, (across < 0) == (down < 0)], [horizontal, vertical, falling], rising
    )
    weak = crest & (size > CANNY_LOW)
    connected, _ = ndimage.label(weak, structure=np.ones((3, 3)))
    return weak & np.isin(connected, connected[weak & (size > CANNY_HIGH)])


def outline_distances(edges: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest edge: float32 (H, W), infinite if there is no edge.

    The distance is the length of the shortest path with the steps (1, 0), (1, 1) and (2, 1) of length 1, 1.4 and
    2.1969. This is Borgefors' 5x5 chamfer distance (CVGIP 1986), within 2 % of the Euclidean distance.

    Args:
        edges: bool (H, W).
    """
    height, width = edges.shape
    y, x = np.abs(np.mgrid[1 - height : height, 1 - width : width])
    longer, shorter = np.maximum(y, x), np.minimum(y, x)
    flat = (longer - 2 * shorter) + 2.1969 * shorter
    diagonal = 1.4 * (2 * shorter - longer) + 2.1969 * (longer - shorter)
    from_center = np.where(2 * shorter <= longer, flat, diagonal).astype(np.float32)
    rows, columns = np.nonzero(edges)
    from_edges = sliding_window_view(from_center, (height, width))[height - 1 - rows, width - 1 - columns]
    return from_edges.min(axis=0, initial=np.inf)


def equalized(layer: np.ndarray) -> np.ndarray:
    """Equalize the histogram of a uint8 image (H, W) over [0, 255], as OpenCV's equalizeHist. Keep constant images."""
    counts = np.bincount(layer.ravel(), minlength=256)
    counts[layer.min()] = 0  # the darkest level becomes black
    if not counts.any():
        return layer
    ranks = np.cumsum(counts)
    return np.rint(ranks * (255 / ranks[-1])).astype(np.uint8)[layer]
