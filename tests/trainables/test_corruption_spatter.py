"""Spatter: reimplemented OpenCV steps against OpenCV's results, a shortest-path search, and examples by hand.

Golden arrays are results of OpenCV 5.0 (Canny, distanceTransform with a 5x5 mask, blur, equalizeHist, filter2D) on the
layer of two drops below. OpenCV is called as in the reference implementation.
"""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from sparsweep.trainables.corruptions.spatter import (
    add_mud,
    add_water,
    canny_edges,
    equalized,
    outline_distances,
    spatter,
    water_highlights,
)
from support.corruption_references import PresetDraws, ramps

LAYER = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 193, 198, 203, 0, 0, 0, 0, 0],
        [0, 191, 196, 201, 206, 211, 0, 0, 0, 0],
        [0, 194, 199, 204, 209, 214, 0, 0, 0, 0],
        [0, 197, 202, 207, 212, 217, 0, 0, 0, 0],
        [0, 0, 205, 210, 215, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 228, 233, 238, 0],
        [0, 0, 0, 0, 0, 0, 231, 236, 241, 0],
        [0, 0, 0, 0, 0, 0, 234, 239, 244, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    np.uint8,
)
CANNY = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 1, 1, 1, 1, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 0, 1, 0, 0, 0],
    [0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
    [0, 1, 1, 1, 1, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
    [0, 0, 0, 0, 0, 0, 1, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
]
DISTANCES_OF_THREE_ROWS = [
    [1.4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.4, 2.1969, 3.1969, 4.1969],
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.8, 3.5969],
    [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.4, 2.1969, 3.1969],
]
HIGHLIGHTS = [
    [0, 0, 0, 0, 57, 142, 227, 255, 245, 245],
    [0, 28, 43, 43, 57, 128, 213, 255, 241, 241],
    [0, 43, 71, 71, 43, 99, 184, 250, 208, 203],
    [0, 43, 71, 71, 28, 71, 156, 213, 161, 132],
    [85, 99, 113, 99, 57, 57, 99, 128, 85, 57],
    [170, 170, 170, 142, 85, 43, 43, 47, 33, 10],
    [255, 255, 241, 184, 99, 28, 0, 0, 0, 0],
    [255, 250, 231, 175, 95, 28, 0, 0, 0, 0],
    [236, 226, 179, 118, 52, 14, 0, 0, 0, 0],
    [236, 222, 184, 137, 76, 28, 0, 0, 0, 0],
]


def test_edges_equal_those_of_opencv() -> None:
    assert canny_edges(LAYER).astype(int).tolist() == CANNY


def test_weak_edges_count_if_connected_to_strong_edges() -> None:
    """Steps of 60 are strong (Sobel 240), steps of 30 weak (120). The lower half has edges only with the upper half."""
    layer = np.zeros((7, 9), np.uint8)
    layer[:, 4:] = 30
    assert not canny_edges(layer).any()
    layer[:3, 4:] = 60
    expected = np.zeros((7, 9), int)
    expected[[0, 1, 4, 5, 6], 3] = 1
    expected[2, 4:] = 1
    expected[3, 4] = 1
    assert canny_edges(layer).astype(int).tolist() == expected.tolist()  # as returned by OpenCV


def test_distances_equal_those_of_opencv() -> None:
    distances = outline_distances(np.array(CANNY, bool))
    np.testing.assert_allclose(distances[:3], DISTANCES_OF_THREE_ROWS, atol=1e-4)
    assert np.isinf(outline_distances(np.zeros((4, 4), bool))).all()


def test_distances_are_shortest_path_lengths() -> None:
    edges = np.zeros((12, 17), bool)
    edges[[1, 8, 11], [3, 15, 0]] = True
    steps = {(1, 0): 1.0, (0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969, (2, 1): 2.1969}
    shortest: dict[tuple[int, int], float] = {}
    queue = [(0.0, int(y), int(x)) for y, x in np.argwhere(edges)]
    while queue:
        length, y, x = heapq.heappop(queue)
        if (y, x) in shortest or not (0 <= y < 12 and 0 <= x < 17):
            continue
        shortest[y, x] = length
        for (down, right), cost in steps.items():
            for sign_y in (-1, 1):
                for sign_x in (-1, 1):
                    heapq.heappush(queue, (length + cost, y + sign_y * down, x + sign_x * right))
    expected = [[shortest[y, x] for x in range(17)] for y in range(12)]
    np.testing.assert_allclose(outline_distances(edges), expected, rtol=1e-6)


def test_histogram_equalization_by_hand() -> None:
    """The darkest level maps to 0. Others map to 255 times the share of the remaining pixels that are no brighter."""
    layer = np.array([[3, 3, 5, 5], [5, 9, 9, 200]], np.uint8)
    assert equalized(layer).tolist() == [[0, 0, 128, 128], [128, 212, 212, 255]]  # 127.5 rounds to even
    constant = np.full((3, 3), 7, np.uint8)
    assert equalized(constant).tolist() == constant.tolist()


def test_highlights_equal_those_of_opencv() -> None:
    assert water_highlights(LAYER).tolist() == HIGHLIGHTS


def test_the_brightest_water_has_the_set_strength() -> None:
    liquid = (LAYER / 255)[None, ..., None]
    black = np.zeros((1, 10, 10, 3), np.uint8)
    light = LAYER * np.array(HIGHLIGHTS, float)
    expected = 0.5 * light[..., None] / light.max() * np.array([175, 238, 238])
    np.testing.assert_allclose(add_water(black, liquid, 0.5)[0], expected, rtol=1e-6)


def test_an_image_without_drops_is_unchanged() -> None:
    dry = np.zeros((1, 8, 8, 1))
    assert np.array_equal(add_water(ramps(), dry, 0.5), ramps())
    assert np.array_equal(add_mud(ramps(), dry > 0, 0.6), ramps())


@pytest.mark.parametrize(("sigma", "covered"), [(0.6, 0.8319), (1.0, 0.6995)])
def test_mud_is_brown_and_fades_at_its_edge(sigma: float, covered: float) -> None:
    """Mud covers the left half. Its last column keeps a cover of (1 + g(0)) / 2 if this is at least 0.8, else none."""
    splashes = np.zeros((1, 9, 12, 1), bool)
    splashes[:, :, :6] = True
    out = add_mud(np.full((1, 9, 12, 3), 200, np.uint8), splashes, sigma)[0]
    np.testing.assert_allclose(out[:, 0], np.broadcast_to([63, 42, 20], (9, 3)), atol=1e-3)
    cover = covered if covered >= 0.8 else 0
    np.testing.assert_allclose(
        out[:, 5], np.broadcast_to(200 - cover * (200 - np.array([63, 42, 20])), (9, 3)), atol=0.1
    )
    assert (out[:, 6:] == 200).all()


@pytest.mark.parametrize("muddy", [0, 1])
def test_drops_appear_where_noise_exceeds_the_threshold(muddy: int) -> None:
    noise = np.full((8, 8, 1), -1.0)
    noise[:, :3] = 1.0
    constants = (0.5, 0.1, 0.01, 0.55, 0.5, muddy)  # 0.6 on the left, 0.4 on the right, almost no smoothing
    changed = (spatter(ramps(), PresetDraws(noise), *constants) != ramps()).any(axis=(0, 3))
    assert not changed[:, 3:].any()
    assert changed[:, :3].any()
