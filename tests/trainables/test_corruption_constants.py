"""Tables of corruption constants: the table for each image size, severity 6, and the order of severities."""

from __future__ import annotations

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest

from sparsweep.trainables.corruptions import CORRUPTIONS, SEVERITIES, TYPE_SETS, corrupt
from sparsweep.trainables.corruptions.severities import CIFAR, TINY_IMAGENET, constants, frost_scale
from support.corruption_references import smooth_images

TABLES = {32: CIFAR, 64: TINY_IMAGENET}

# Constants of severity 6 that are not c5 + (c5 - c4), by (corruption, position): values for 32 and 64 pixels.
NOT_LINEAR: dict[tuple[str, int], tuple[float | None, float | None]] = {
    ("shot_noise", 0): (37.5, 10),
    ("defocus_blur", 1): (0.1, None),
    ("snow", 2): (1.25, 1.25),
    ("snow", 3): (0.65, 0.65),
    ("contrast", 0): (0.12, 0.04),
    ("elastic_transform", 0): (0.12, None),
    ("elastic_transform", 1): (0.03, None),
    ("elastic_transform", 2): (0.03, 0.02),
}


@pytest.mark.parametrize("side", TABLES)
def test_every_type_has_its_constants_at_every_severity(side: int) -> None:
    assert TABLES[side].keys() == CORRUPTIONS.keys()
    for name, rows in TABLES[side].items():
        parameters = len(inspect.signature(CORRUPTIONS[name]).parameters) - 2  # without images and random inputs
        assert len(rows) == len(SEVERITIES) and {len(row) for row in rows} == {parameters}, name


@pytest.mark.parametrize("side", TABLES)
def test_severity_6_extrapolates_linearly_from_4_and_5(side: int) -> None:
    for name, rows in TABLES[side].items():
        for position, (before, last, extrapolated) in enumerate(zip(*rows[3:], strict=True)):
            exception = NOT_LINEAR.get((name, position), (None, None))[0 if side == 32 else 1]
            expected = last + (last - before) if exception is None else exception
            assert extrapolated == pytest.approx(expected), (name, position)


# Severities 2, 4 and 5, read independently from the two programs of the reference.
PUBLISHED: dict[str, dict[int, list[object]]] = {
    "gaussian_noise": {32: [0.06, 0.09, 0.10], 64: [0.08, 0.15, 0.18]},
    "shot_noise": {32: [250, 75, 50], 64: [100, 30, 15]},
    "impulse_noise": {32: [0.02, 0.05, 0.07], 64: [0.02, 0.08, 0.14]},
    "speckle_noise": {32: [0.10, 0.16, 0.20], 64: [0.20, 0.30, 0.35]},
    "gaussian_blur": {32: [0.6, 0.8, 1.0], 64: [0.75, 1.25, 1.5]},
    "defocus_blur": {32: [(0.4, 0.5), (1, 0.2), (1.5, 0.1)], 64: [(1, 0.1), (2.5, 0.01), (3, 0.1)]},
    "glass_blur": {32: [(0.25, 1, 1), (0.25, 1, 2), (0.4, 1, 2)], 64: [(0.5, 1, 1), (0.7, 2, 1), (0.9, 2, 2)]},
    "motion_blur": {32: [(6, 1.5), (8, 2), (9, 2.5)], 64: [(10, 1.5), (10, 2.5), (12, 3)]},
    "zoom_blur": {32: [1.11, 1.21, 1.26], 64: [1.11, 1.21, 1.26]},
    "snow": {
        side: [
            (0.1, 0.2, 1, 0.5, 10, 4, kept[0]),
            (0.25, 0.3, 2.25, 0.6, 12, 6, kept[1]),
            (0.3, 0.3, 1.25, 0.65, 14, 12, kept[2]),
        ]
        for side, kept in ((32, (0.9, 0.85, 0.8)), (64, (0.8, 0.65, 0.6)))
    },
    "frost": {32: [(1, 0.3), (0.85, 0.4), (0.75, 0.45)], 64: [(0.9, 0.4), (0.75, 0.5), (0.7, 0.55)]},
    "fog": {32: [(0.5, 3), (1, 2), (1.5, 1.75)], 64: [(0.7, 3), (1.5, 2), (2, 1.75)]},
    "spatter": {
        32: [(0.65, 0.1, 0.8, 0.7, 0.5, 0), (0.65, 0.1, 0.7, 0.69, 0.6, 1), (0.65, 0.1, 0.5, 0.68, 0.6, 1)],
        64: [(0.65, 0.1, 0.8, 0.7, 0.6, 0), (0.65, 0.1, 0.7, 0.68, 0.6, 1), (0.65, 0.1, 0.5, 0.67, 0.6, 1)],
    },
    "brightness": {32: [0.1, 0.2, 0.3], 64: [0.2, 0.4, 0.5]},
    "contrast": {32: [0.5, 0.3, 0.15], 64: [0.3, 0.1, 0.05]},
    "saturate": {32: [(0.1, 0), (2, 0.1), (2.5, 0.2)], 64: [(0.1, 0), (5, 0.1), (30, 0.2)]},
    "elastic_transform": {
        32: [(0.05, 0.2, 0.07), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)],
        64: [(0.05, 0.3, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)],
    },
    "pixelate": {32: [0.9, 0.75, 0.65], 64: [0.8, 0.6, 0.5]},
    "jpeg_compression": {32: [65, 50, 40], 64: [58, 40, 25]},
}


# Severities 1 and 3, read in the same way.
PUBLISHED_1_AND_3: dict[str, dict[int, list[object]]] = {
    "gaussian_noise": {32: [0.04, 0.08], 64: [0.04, 0.12]},
    "shot_noise": {32: [500, 100], 64: [250, 50]},
    "impulse_noise": {32: [0.01, 0.03], 64: [0.01, 0.05]},
    "speckle_noise": {32: [0.06, 0.12], 64: [0.15, 0.25]},
    "gaussian_blur": {32: [0.4, 0.7], 64: [0.5, 1]},
    "defocus_blur": {32: [(0.3, 0.4), (0.5, 0.6)], 64: [(0.5, 0.6), (1.5, 0.1)]},
    "glass_blur": {32: [(0.05, 1, 1), (0.4, 1, 1)], 64: [(0.1, 1, 1), (0.6, 1, 2)]},
    "motion_blur": {32: [(6, 1), (6, 2)], 64: [(10, 1), (10, 2)]},
    "zoom_blur": {32: [1.06, 1.16], 64: [1.06, 1.16]},
    "snow": {
        side: [(0.1, 0.2, 1, 0.6, 8, 3, kept[0]), (0.15, 0.3, 1.75, 0.55, 10, 4, kept[1])]
        for side, kept in ((32, (0.95, 0.9)), (64, (0.8, 0.7)))
    },
    "frost": {32: [(1, 0.2), (0.9, 0.4)], 64: [(1, 0.3), (0.8, 0.45)]},
    "fog": {32: [(0.2, 3), (0.75, 2.5)], 64: [(0.4, 3), (1, 2.5)]},
    "spatter": {
        32: [(0.62, 0.1, 0.7, 0.7, 0.5, 0), (0.65, 0.3, 1, 0.69, 0.5, 0)],
        64: [(0.62, 0.1, 0.7, 0.7, 0.6, 0), (0.65, 0.3, 1, 0.69, 0.6, 0)],
    },
    "brightness": {32: [0.05, 0.15], 64: [0.1, 0.3]},
    "contrast": {32: [0.75, 0.4], 64: [0.4, 0.2]},
    "saturate": {32: [(0.3, 0), (1.5, 0)], 64: [(0.3, 0), (2, 0)]},
    "elastic_transform": {32: [(0, 0, 0.08), (0.08, 0.06, 0.06)], 64: [(0, 0, 0.08), (0.1, 0.08, 0.06)]},
    "pixelate": {32: [0.95, 0.85], 64: [0.9, 0.7]},
    "jpeg_compression": {32: [80, 58], 64: [65, 50]},
}


@pytest.mark.parametrize("side", TABLES)
@pytest.mark.parametrize("name", TYPE_SETS["h19"])
def test_constants_equal_the_published_ones(name: str, side: int) -> None:
    for severities, published in (((2, 4, 5), PUBLISHED), ((1, 3), PUBLISHED_1_AND_3)):
        found = [constants(name, severity, side) for severity in severities]
        assert found == [row if isinstance(row, tuple) else (row,) for row in published[name][side]]


def test_shot_noise_at_severity_6_extrapolates_the_variance() -> None:
    for table in TABLES.values():
        (before,), (last,), (extrapolated,) = table["shot_noise"][3:]
        assert 1 / extrapolated == pytest.approx(2 / last - 1 / before)


def test_the_table_depends_on_the_image_size() -> None:
    assert [constants("gaussian_noise", 5, side) for side in (8, 28, 32, 48, 49, 64, 96)] == [(0.1,)] * 4 + [
        (0.18,)
    ] * 3
    assert [frost_scale(side) for side in (8, 48, 49, 64)] == [0.2, 0.2, 0.3, 0.3]


def test_the_shorter_side_selects_the_table() -> None:
    images = np.full((1, 3, 32, 90), 100, np.uint8)
    assert corrupt(images, "brightness", 5, 0, "train").max() == math.floor(100 + 0.3 * 255)
    assert corrupt(images.repeat(2, axis=2), "brightness", 5, 0, "train").max() == math.floor(100 + 0.5 * 255)


def test_type_sets() -> None:
    sizes = {name: len(types) for name, types in TYPE_SETS.items()}
    assert sizes == {"h14": 14, "h15": 15, "h19": 19, "lff_type0": 10, "lff_type1": 10, "named3": 3}
    assert all(len(set(types)) == len(types) and set(types) <= CORRUPTIONS.keys() for types in TYPE_SETS.values())
    assert set(TYPE_SETS["h15"]) - set(TYPE_SETS["h14"]) == {"frost"}
    extra = {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert set(TYPE_SETS["h19"]) - set(TYPE_SETS["h15"]) == extra
    assert set(TYPE_SETS["lff_type0"]) | set(TYPE_SETS["lff_type1"]) == {*TYPE_SETS["h19"], "original"}
    assert not set(TYPE_SETS["lff_type0"]) & set(TYPE_SETS["lff_type1"])
    assert set(TYPE_SETS["named3"]) < set(TYPE_SETS["lff_type1"])


# Severities between which the pixel change grows. The published constants do not order the others: spatter changes
# from water to mud at 4, and saturate from fading to coloring at 3. Elastic transform changes from an affine map of the
# image to local displacements. Glass blur displaces pixels less, or blurs over the displacements. Between 3 and 4,
# motion blur differs only in the truncation of the kernel.
GROWING_ANYWHERE = {
    **{name: [SEVERITIES] for name in sorted(set(TYPE_SETS["h19"]) - {"frost"})},  # frost depends on the photograph
    "spatter": [(1, 2, 3), (4, 5, 6)],
    "saturate": [(1, 2), (3, 4, 5, 6)],
    "elastic_transform": [(5, 6)],
    "motion_blur": [(1, 2, 3), (4, 5, 6)],
    "defocus_blur": [(2, 3, 4, 5, 6)],
}
GROWING = {
    32: {**GROWING_ANYWHERE, "glass_blur": [(3, 4)]},
    64: {**GROWING_ANYWHERE, "glass_blur": [(2, 3), (4, 5, 6)]},
}


@pytest.mark.parametrize("side", GROWING)
@pytest.mark.parametrize("name", GROWING_ANYWHERE)
def test_pixel_change_grows_with_severity(name: str, side: int) -> None:
    images = smooth_images(24, side).astype(int)
    change = [np.abs(corrupt(images.astype(np.uint8), name, s, 0, "train") - images).mean() for s in SEVERITIES]
    for run in GROWING[side][name]:
        assert all(change[before - 1] < change[after - 1] for before, after in pairwise(run)), (run, change)
