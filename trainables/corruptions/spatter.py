"""Spatter: drops of water or splashes of mud on the lens (Hendrycks & Dietterich, ICLR 2019, extra corruptions).

Functions take uint8 images [N, H, W, 3] and give grey levels, still to be clipped and truncated to uint8. Water gleams
by its distance to the outline of a drop, for which the reference calls OpenCV; the steps needed are restated here on
small arrays, with OpenCV's conventions.

Departures from the released code (``make_cifar_c.py``, ``make_tinyimagenet_c.py``): liquid above white is white (there
it wraps around to black), and an image that no drop hits stays as it is (there it is divided by zero).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from sparsweep.trainables.corruptions.filters import gaussian
from sparsweep.trainables.corruptions.pixels import to_uint8
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs

WATER = np.array([175, 238, 238])  # pale turquoise
MUD = np.array([63, 42, 20])
CANNY_LOW, CANNY_HIGH = 50, 150
FAR = 20.0  # pixels: gleam does not grow with distances beyond
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
    """Liquid where normal noise under a Gaussian of ``sigma`` pixels exceeds ``threshold``.

    ``strength`` is the brightness of water, or the standard deviation in pixels of the edges of mud (``muddy`` 1).
    """
    noise = mean + sd * sources.normal(*images.shape[1:3], 1)
    liquid = gaussian(noise, sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    return add_mud(images, liquid > threshold, strength) if muddy else add_water(images, liquid, strength)


def add_mud(images: np.ndarray, splashes: np.ndarray, sigma: float) -> np.ndarray:
    """Brown over the image where ``splashes`` (bool [N, H, W, 1]), softened by ``sigma`` pixels, still cover .8."""
    cover = gaussian(splashes, sigma)
    cover = np.where(cover < 0.8, 0, cover)
    return images * (1 - cover) + MUD * cover


def add_water(images: np.ndarray, liquid: np.ndarray, strength: float) -> np.ndarray:
    """Turquoise light, at most ``strength`` of its brightness, where there is ``liquid`` ([N, H, W, 1] in [0, 1])."""
    levels = to_uint8(255 * liquid)[..., 0]
    light = np.stack([layer * water_highlights(layer) for layer in levels])[..., None]
    brightest = light.max(axis=(1, 2, 3), keepdims=True)
    return images + strength * WATER * light / np.maximum(brightest, 1)


def water_highlights(layer: np.ndarray) -> np.ndarray:
    """How the light falls on a layer of drops (uint8 [H, W]): whole numbers in [0, 255], float32 [H, W]."""
    distances = np.minimum(outline_distances(canny_edges(layer)), FAR)
    relief = equalized(_box(distances).astype(np.uint8))
    embossed = ndimage.correlate(relief.astype(np.float32), EMBOSS, mode="mirror")
    return np.rint(_box(np.clip(embossed, 0, 255)))


def _box(values: np.ndarray) -> np.ndarray:
    """Mean over 3x3 pixels, mirrored about the edge pixels: OpenCV's blur."""
    return ndimage.uniform_filter(values.astype(np.float32), 3, mode="mirror")


def canny_edges(layer: np.ndarray) -> np.ndarray:
    """Edges of a uint8 image [H, W], bool [H, W]: Canny's detector, Sobel gradients with |dx| + |dy|.

    A pixel is an edge if its gradient exceeds that of its two neighbours across the edge and ``CANNY_HIGH``, or
    ``CANNY_LOW`` if edge pixels connect it (by any of 8 neighbours) to one that exceeds ``CANNY_HIGH``.
    """
    across = ndimage.sobel(layer.astype(int), axis=1, mode="nearest")
    down = ndimage.sobel(layer.astype(int), axis=0, mode="nearest")
    size = np.abs(across) + np.abs(down)
    height, width = layer.shape
    around = np.pad(size, 1)  # beyond the border there is no gradient

    def neighbour(rows: int, columns: int) -> np.ndarray:
        return around[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    # Of equal neighbours on the left or above the pixel wins; on a diagonal neither may be equal.
    horizontal = (size > neighbour(0, -1)) & (size >= neighbour(0, 1))
    vertical = (size > neighbour(-1, 0)) & (size >= neighbour(1, 0))
    falling = (size > neighbour(-1, -1)) & (size > neighbour(1, 1))
    rising = (size > neighbour(-1, 1)) & (size > neighbour(1, -1))
    steep = np.abs(down) / np.maximum(np.abs(across), 1e-9)
    crest = np.select(
        [steep < TAN_22_5, steep > TAN_67_5, (across < 0) == (down < 0)], [horizontal, vertical, falling], rising
    )
    weak = crest & (size > CANNY_LOW)
    connected, _ = ndimage.label(weak, structure=np.ones((3, 3)))
    return weak & np.isin(connected, connected[weak & (size > CANNY_HIGH)])


def outline_distances(edges: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest of ``edges`` (bool [H, W]), infinite if there is none; float32 [H, W].

    The length of the shortest way of steps (1, 0), (1, 1) and (2, 1), that count 1, 1.4 and 2.1969: Borgefors' 5x5
    chamfer distance (CVGIP 1986), within 2 % of the Euclidean.
    """
    height, width = edges.shape
    y, x = np.abs(np.mgrid[1 - height : height, 1 - width : width])
    longer, shorter = np.maximum(y, x), np.minimum(y, x)
    flat = (longer - 2 * shorter) + 2.1969 * shorter
    diagonal = 1.4 * (2 * shorter - longer) + 2.1969 * (longer - shorter)
    from_centre = np.where(2 * shorter <= longer, flat, diagonal).astype(np.float32)
    rows, columns = np.nonzero(edges)
    from_edges = sliding_window_view(from_centre, (height, width))[height - 1 - rows, width - 1 - columns]
    return from_edges.min(axis=0, initial=np.inf)


def equalized(layer: np.ndarray) -> np.ndarray:
    """uint8 [H, W] with its histogram spread over [0, 255]: OpenCV's equalizeHist. A constant layer stays."""
    counts = np.bincount(layer.ravel(), minlength=256)
    counts[layer.min()] = 0  # the darkest level becomes black
    if not counts.any():
        return layer
    ranks = np.cumsum(counts)
    return np.rint(ranks * (255 / ranks[-1])).astype(np.uint8)[layer]
