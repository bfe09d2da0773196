"""``corrupt`` on image arrays: shapes, dtype, independent random numbers for each image, and one-line errors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsweep.trainables.corruptions import CORRUPTIONS, SEVERITIES, TYPE_SETS, corrupt
from sparsweep.trainables.corruptions.random_streams import CorruptionInputs, image_rng

ROOT = Path(__file__).parents[2]
NAMES = sorted(CORRUPTIONS)
RANDOM_TYPES = sorted(
    set(NAMES)
    - {"original", "gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate"}
    - {"pixelate", "jpeg_compression"}
)


@pytest.fixture(scope="session")
def frost_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frost")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (330, 340, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def images_of(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 9, 20), (3, 21, 12), (3, 64, 64)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_output_is_uint8_of_the_same_shape(name: str, shape: tuple[int, ...], frost_folder: Path) -> None:
    images = images_of(2, *shape)
    before = images.copy()
    images.setflags(write=False)  # like arrays from Ray's object store
    for severity in SEVERITIES:
        out = corrupt(images, name, severity, 0, "train", frost_folder=frost_folder)
        assert out.dtype == np.uint8 and out.shape == images.shape and out.flags.c_contiguous
        # Some severities change no pixel: a zoom by 0.06 has no effect on 8 pixels, and gray has no saturation to lose.
        if severity == 5 or name == "original":
            assert np.array_equal(out, images) == (name == "original")
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_corrupted_image_does_not_depend_on_other_images(
    name: str, frost_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subsets, another order, batches of one, and neighbors of other types give the same image bit for bit."""
    images = images_of(7, 3, 12, 12)
    expected = corrupt(images, name, 5, 3, "train", frost_folder=frost_folder)
    order = np.array([4, 0, 6, 2])
    part = corrupt(images[order], name, 5, 3, "train", indices=order, frost_folder=frost_folder)
    assert np.array_equal(part, expected[order])
    mixed = ["contrast", name, "fog", name, name, "snow", name]
    among = corrupt(images, mixed, 5, 3, "train", frost_folder=frost_folder)
    assert np.array_equal(among[[1, 3, 4, 6]], expected[[1, 3, 4, 6]])
    monkeypatch.setattr("sparsweep.trainables.corruptions.apply.BATCH_PIXELS", 1)
    assert np.array_equal(corrupt(images, name, 5, 3, "train", frost_folder=frost_folder), expected)


@pytest.mark.parametrize("name", RANDOM_TYPES)
def test_random_numbers_differ_between_seeds_splits_and_indices(name: str, frost_folder: Path) -> None:
    images = images_of(1, 3, 32, 32).repeat(2, axis=0)
    first = corrupt(images, name, 5, 0, "train", frost_folder=frost_folder)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, corrupt(images, name, 5, 1, "train", frost_folder=frost_folder))
    assert not np.array_equal(first, corrupt(images, name, 5, 0, "test", frost_folder=frost_folder))
    again = corrupt(images[:1], name, 5, 0, "train", indices=[1], frost_folder=frost_folder)
    assert np.array_equal(again[0], first[1])


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(RANDOM_TYPES)))
def test_deterministic_types_do_not_depend_on_the_seed(name: str) -> None:
    images = images_of(1, 3, 32, 32).repeat(2, axis=0)
    first = corrupt(images, name, 5, 0, "train")
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first, corrupt(images, name, 5, 1, "test"))


def test_severities_share_their_random_numbers() -> None:
    """Pixels changed by impulses at one severity are also changed at the next."""
    images = np.full((4, 3, 32, 32), 100, np.uint8)
    hit = [corrupt(images, "impulse_noise", severity, 0, "train") != 100 for severity in SEVERITIES]
    assert all((after | ~before).all() for before, after in pairwise(hit))


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    images = images_of(1, 3, 16, 16)
    np.random.seed(0)
    first = corrupt(images, "gaussian_noise", 3, 0, "train")
    state = np.random.get_state()[1]
    np.random.seed(1)
    assert np.array_equal(first, corrupt(images, "gaussian_noise", 3, 0, "train"))
    np.random.seed(0)
    assert np.array_equal(state, np.random.get_state()[1])


def test_random_streams_are_seeded_by_the_hash_of_their_key() -> None:
    """The seed by hand, and a stored value. A change here changes every corrupted data set."""
    entropy = int.from_bytes(hashlib.sha256(b"(3, 'corruption', 'test', 12, 'snow')").digest()[:16], "big")
    by_hand = np.random.PCG64(entropy).random_raw(3)
    streams = CorruptionInputs(3, "test", "snow", np.array([12])).streams[0]
    assert np.array_equal(streams.bit_generator.random_raw(3), by_hand)
    assert image_rng(0, "corruption", "train", 0, "fog").bit_generator.random_raw() == 13264424958873648197


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"frost"}))
def test_a_gray_result_is_the_luma_of_the_color_result(name: str) -> None:
    gray = images_of(3, 1, 16, 16)
    colored = corrupt(gray.repeat(3, axis=1), name, 4, 0, "train")
    luma = np.rint(colored.astype(float).transpose(0, 2, 3, 1) @ [0.299, 0.587, 0.114])
    assert np.array_equal(corrupt(gray, name, 4, 0, "train")[:, 0], luma.astype(np.uint8))


def test_one_type_name_applies_to_all_images() -> None:
    images = images_of(3, 3, 8, 8)
    one = corrupt(images, "speckle_noise", 2, 0, "train")
    assert np.array_equal(one, corrupt(images, ["speckle_noise"] * 3, 2, 0, "train"))
    assert np.array_equal(one, corrupt(images, np.array(TYPE_SETS["h19"])[[15] * 3], 2, 0, "train"))


def test_an_empty_array_stays_empty() -> None:
    assert corrupt(images_of(0, 3, 8, 8), "fog", 1, 0, "train").shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": "blur"}, "types: unknown corruption 'blur'; choose from brightness, contrast, defocus_blur,"),
        ({"types": ["fog", "rain"]}, "types: unknown corruption 'rain'; choose from .*zoom_blur$"),
        ({"types": ["fog"]}, r"types: must be one name, or one name per image, 2 \(got shape \(1,\)\)"),
        ({"severity": 0}, r"severity: must be one of 1, 2, 3, 4, 5, 6 \(got 0\)"),
        ({"severity": 7}, r"severity: must be one of 1, 2, 3, 4, 5, 6 \(got 7\)"),
        ({"indices": [1]}, r"indices: must have one index per image, 2 \(got shape \(1,\)\)"),
        ({"images": np.zeros((2, 3, 8, 8))}, r"images: must be uint8 \(N, 1 or 3, H, W\) \(got float64 \(2, 3"),
        ({"images": np.zeros((2, 8, 8, 3), np.uint8)}, r"images: must be uint8 .*got uint8 \(2, 8, 8, 3\)"),
        ({"images": np.zeros((3, 8, 8), np.uint8)}, r"images: must be uint8 .*got uint8 \(3, 8, 8\)"),
        ({"images": np.zeros((2, 3, 8, 7), np.uint8)}, r"images: sides must be at least 8 pixels \(got \(8, 7\)\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_errors_name_the_value_and_the_choices(changes: dict[str, object], message: str) -> None:
    arguments = {"images": images_of(2, 3, 8, 8), "types": "fog", "severity": 1, "seed": 0, "split": "train"} | changes
    with pytest.raises(ValueError, match=message) as caught:
        corrupt(**arguments)
    assert "\n" not in str(caught.value)


def test_the_package_needs_neither_torch_nor_pydantic() -> None:
    code = "import sys, sparsweep.trainables.corruptions; print({'torch', 'pydantic', 'ray', 'cv2'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "set()"
