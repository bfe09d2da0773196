"""Constants of every corruption at every severity.

Severities 1-5 are those of Hendrycks & Dietterich (ICLR 2019), from their released code: ``make_cifar_c.py`` for
CIFAR-10-C and CIFAR-100-C (32 pixels), ``make_tinyimagenet_c.py`` for Tiny-ImageNet-C (64 pixels). The two files
differ: the same severity is stronger for larger images.

Severity 6 is in neither file, although Xiao et al. (BMVC 2024, appendix B) use it. Our constants are the linear
extrapolation c5 + (c5 - c4), except where a comment gives another rule. A constant stays at its value of severity 5 if
the extrapolation leaves its range. It also stays if it only shapes the effect and the extrapolation would weaken it.

A row has the parameters of the function of that name, in order. A table has one row per severity.
"""

from __future__ import annotations

Row = tuple[float, ...]

SEVERITIES = (1, 2, 3, 4, 5, 6)
LARGEST_CIFAR_SIDE = 48  # shorter side in pixels, the mean of 32 and 64


def _column(*values: float) -> tuple[Row, ...]:
    return tuple((value,) for value in values)


CIFAR: dict[str, tuple[Row, ...]] = {
    "original": ((),) * 6,
    "gaussian_noise": _column(0.04, 0.06, 0.08, 0.09, 0.10, 0.11),
    "shot_noise": _column(500, 250, 100, 75, 50, 37.5),  # 6: linear in the noise's variance, 1/photons
    "impulse_noise": _column(0.01, 0.02, 0.03, 0.05, 0.07, 0.09),
    "speckle_noise": _column(0.06, 0.10, 0.12, 0.16, 0.20, 0.24),
    "gaussian_blur": _column(0.4, 0.6, 0.7, 0.8, 1.0, 1.2),
    # 6: alias_blur stays; extrapolated it would be 0, without any blur.
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1), (2, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2), (0.55, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5), (10, 3)),
    "zoom_blur": _column(1.06, 1.11, 1.16, 1.21, 1.26, 1.31),
    "snow": (
        (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
        (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
        (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
        (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
        (0.35, 0.3, 1.25, 0.65, 16, 18, 0.75),  # 6: zoom would be 0.25; a higher threshold would give fewer flakes
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45), (0.65, 0.5)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75), (2, 1.5)),
    "spatter": (
        (0.62, 0.1, 0.7, 0.70, 0.5, 0),
        (0.65, 0.1, 0.8, 0.70, 0.5, 0),
        (0.65, 0.3, 1.0, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        (0.65, 0.1, 0.3, 0.67, 0.6, 1),
    ),
    "brightness": _column(0.05, 0.10, 0.15, 0.20, 0.30, 0.40),
    # 6: extrapolated 0, a blank image; 0.12 is the sixth entry in the code of Nam et al. (LfF, NeurIPS 2020).
    "contrast": _column(0.75, 0.5, 0.4, 0.3, 0.15, 0.12),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2), (3, 0.3)),
    "elastic_transform": (
        (0, 0, 0.08),
        (0.05, 0.20, 0.07),
        (0.08, 0.06, 0.06),
        (0.10, 0.04, 0.05),
        (0.10, 0.03, 0.03),
        (0.12, 0.03, 0.03),  # 6: strength does not change from 4 to 5: add 0.02; the others stay
    ),
    "pixelate": _column(0.95, 0.90, 0.85, 0.75, 0.65, 0.55),
    "jpeg_compression": _column(80, 65, 58, 50, 40, 30),
}

TINY_IMAGENET: dict[str, tuple[Row, ...]] = {
    "original": ((),) * 6,
    "gaussian_noise": _column(0.04, 0.08, 0.12, 0.15, 0.18, 0.21),
    "shot_noise": _column(250, 100, 50, 30, 15, 10),  # 6: linear in the noise's variance, 1/photons
    "impulse_noise": _column(0.01, 0.02, 0.05, 0.08, 0.14, 0.20),
    "speckle_noise": _column(0.15, 0.20, 0.25, 0.30, 0.35, 0.40),
    "gaussian_blur": _column(0.50, 0.75, 1.00, 1.25, 1.50, 1.75),
    "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1), (3.5, 0.19)),
    "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2), (1.1, 2, 3)),
    "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3), (14, 3.5)),
    "zoom_blur": _column(1.06, 1.11, 1.16, 1.21, 1.26, 1.31),
    "snow": (
        (0.10, 0.2, 1.00, 0.60, 8, 3, 0.80),
        (0.10, 0.2, 1.00, 0.50, 10, 4, 0.80),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.70),
        (0.25, 0.3, 2.25, 0.60, 12, 6, 0.65),
        (0.30, 0.3, 1.25, 0.65, 14, 12, 0.60),
        (0.35, 0.3, 1.25, 0.65, 16, 18, 0.55),  # 6: zoom and threshold stay, as for CIFAR
    ),
    "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55), (0.65, 0.6)),
    "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75), (2.5, 1.5)),
    "spatter": (
        (0.62, 0.1, 0.7, 0.70, 0.6, 0),
        (0.65, 0.1, 0.8, 0.70, 0.6, 0),
        (0.65, 0.3, 1.0, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        (0.65, 0.1, 0.3, 0.66, 0.6, 1),
    ),
    "brightness": _column(0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "contrast": _column(0.4, 0.3, 0.2, 0.1, 0.05, 0.04),  # 6: extrapolated 0; the ratio to 5 is that of CIFAR
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2), (55, 0.3)),
    "elastic_transform": (
        (0, 0, 0.08),
        (0.05, 0.30, 0.06),
        (0.10, 0.08, 0.06),
        (0.10, 0.03, 0.03),
        (0.16, 0.03, 0.02),
        (0.22, 0.03, 0.02),  # 6: jitter stays; 0.01 would weaken the effect
    ),
    "pixelate": _column(0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    "jpeg_compression": _column(65, 58, 50, 40, 25, 10),
}

# Scale factors for photographs of frost.
CIFAR_FROST_SCALE, TINY_IMAGENET_FROST_SCALE = 0.2, 0.3


def constants(corruption: str, severity: int, side: int) -> Row:
    """Return the parameters of a corruption: those of CIFAR up to 48 pixels, those of Tiny ImageNet above.

    Args:
        corruption: Name of the type.
        severity: 1 to 6.
        side: Shorter side of the images in pixels.
    """
    return (CIFAR if side <= LARGEST_CIFAR_SIDE else TINY_IMAGENET)[corruption][severity - 1]


def frost_scale(side: int) -> float:
    """Return the scale factor for photographs of frost, for images with a shorter side of ``side`` pixels."""
    return CIFAR_FROST_SCALE if side <= LARGEST_CIFAR_SIDE else TINY_IMAGENET_FROST_SCALE
