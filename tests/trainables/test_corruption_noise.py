"""Noise: formulas at given random numbers, and means and variances of the noise.

Seeds are fixed, so no test fails by chance. Bounds are five standard errors.
"""

from __future__ import annotations

import numpy as np
import pytest

from sparsweep.trainables.corruptions import SEVERITIES, corrupt
from sparsweep.trainables.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from sparsweep.trainables.corruptions.severities import CIFAR
from support.corruption_references import PresetDraws, ramps

VALUES = 200 * 3 * 32 * 32


def flat(level: int) -> np.ndarray:
    return np.full((200, 3, 32, 32), level, np.uint8)


def noise(level: int, corruption: str, severity: int) -> np.ndarray:
    """Return the change of gray images of ``level``, plus 0.5: truncation loses half a level on average."""
    return corrupt(flat(level), corruption, severity, 0, "train").astype(float) - level + 0.5


def test_formulas_at_given_random_numbers() -> None:
    image = ramps()
    normal = np.linspace(-3, 3, image.size).reshape(image.shape[1:])
    np.testing.assert_allclose(gaussian_noise(image, PresetDraws(normal), 0.1)[0], image[0] + 25.5 * normal)
    np.testing.assert_allclose(speckle_noise(image, PresetDraws(normal), 0.2)[0], image[0] * (1 + 0.2 * normal))
    np.testing.assert_allclose(shot_noise(image, PresetDraws(np.full((8, 8, 3), 25)), 50)[0], 127.5)


def test_impulses_at_given_random_numbers() -> None:
    chance = np.full((8, 8, 3), 0.5)
    chance[0, 0], chance[0, 1], chance[0, 2], chance[0, 3] = 0.049, 0.05, 0.949, 0.95
    out = impulse_noise(ramps(), PresetDraws(chance), 0.1)[0]
    assert (out[0, 0] == 0).all() and (out[0, 3] == 255).all()
    out[0, 0], out[0, 3] = ramps()[0, 0, 0], ramps()[0, 0, 3]
    assert np.array_equal(out, ramps()[0])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_noise_has_its_mean_and_standard_deviation(severity: int) -> None:
    sd = 255 * CIFAR["gaussian_noise"][severity - 1][0]
    drawn = noise(128, "gaussian_noise", severity)
    assert drawn.mean() == pytest.approx(0, abs=5 * sd / VALUES**0.5)
    assert drawn.std() == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("level", [60, 120])
def test_speckle_noise_is_proportional_to_the_level(level: int, severity: int) -> None:
    sd = level * CIFAR["speckle_noise"][severity - 1][0]
    drawn = noise(level, "speckle_noise", severity)
    assert drawn.mean() == pytest.approx(0, abs=5 * sd / VALUES**0.5)
    assert drawn.std() == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("level", [40, 80])
def test_shot_noise_has_a_variance_proportional_to_the_level(level: int, severity: int) -> None:
    """Photon counts have mean and variance level * photons / 255. Scaled by 255 / photons: level * 255 / photons.

    The scaled values lie on a lattice, so truncation may lose between 0 and 1 level on average, not 0.5.
    """
    photons = CIFAR["shot_noise"][severity - 1][0]
    drawn = noise(level, "shot_noise", severity)
    assert drawn.mean() == pytest.approx(0, abs=0.5 + 5 * (level * 255 / photons / VALUES) ** 0.5)
    assert drawn.std() == pytest.approx((level * 255 / photons) ** 0.5, rel=0.02)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulses_have_their_frequency(severity: int) -> None:
    amount = CIFAR["impulse_noise"][severity - 1][0]
    out = corrupt(flat(77), "impulse_noise", severity, 0, "train")
    error = 5 * (amount / VALUES) ** 0.5
    assert np.mean(out == 0) == pytest.approx(amount / 2, abs=error)
    assert np.mean(out == 255) == pytest.approx(amount / 2, abs=error)
    assert np.isin(out, [0, 77, 255]).all()


@pytest.mark.parametrize("corruption", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_noise_is_independent_between_pixels_channels_and_images(corruption: str) -> None:
    drawn = noise(100, corruption, 5)
    drawn = (drawn - drawn.mean()) / drawn.std()
    pairs = {
        "right": (drawn[..., 1:], drawn[..., :-1]),
        "down": (drawn[:, :, 1:], drawn[:, :, :-1]),
        "channel": (drawn[:, 1:], drawn[:, :-1]),
        "image": (drawn[1:], drawn[:-1]),
    }
    for name, (one, other) in pairs.items():
        assert abs(np.mean(one * other)) < 5 / one.size**0.5, name
