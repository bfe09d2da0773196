"""Corruption types by name, and named sets of types for experiments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsweep.trainables.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from sparsweep.trainables.corruptions.digital import (
    brightness,
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from sparsweep.trainables.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs
from sparsweep.trainables.corruptions.spatter import spatter
from sparsweep.trainables.corruptions.weather import fog, frost, snow

# (uint8 images (N, H, W, 3), CorruptionInputs, *constants) -> gray levels (N, H, W, 3), not yet clipped.
CorruptionFunction = Callable[..., np.ndarray]


def original(images: np.ndarray, _: CorruptionInputs) -> np.ndarray:
    """Return the images unchanged: the tenth type of the second set of LfF."""
    return images


_BENCHMARK: tuple[CorruptionFunction, ...] = (
    gaussian_noise,
    shot_noise,
    impulse_noise,
    defocus_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
    snow,
    frost,
    fog,
    brightness,
    contrast,
    elastic_transform,
    pixelate,
    jpeg_compression,
)
_EXTRA: tuple[CorruptionFunction, ...] = (speckle_noise, gaussian_blur, spatter, saturate)

CORRUPTIONS: dict[str, CorruptionFunction] = {
    function.__name__: function for function in (*_BENCHMARK, *_EXTRA, original)
}

# h15 and h19: the benchmark of Hendrycks & Dietterich (ICLR 2019), without and with its four extra types.
# h14: h15 without frost, because frost needs photographs that are not part of this package.
# lff_type0, lff_type1: the two sets of Nam et al. (Learning from Failure, NeurIPS 2020), in the order of their code.
# named3: the three examples of Xiao et al. (BMVC 2024, section 3.3.1).
TYPE_SETS: dict[str, tuple[str, ...]] = {
    "h14": tuple(function.__name__ for function in _BENCHMARK if function is not frost),
    "h15": tuple(function.__name__ for function in _BENCHMARK),
    "h19": tuple(function.__name__ for function in (*_BENCHMARK, *_EXTRA)),
    "lff_type0": (
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "spatter",
        "elastic_transform",
        "jpeg_compression",
        "pixelate",
        "saturate",
    ),
    "lff_type1": (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "speckle_noise",
        "gaussian_blur",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "original",
    ),
    "named3": ("gaussian_noise", "impulse_noise", "defocus_blur"),
}
