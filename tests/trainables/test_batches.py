"""Batches against a naive loop over images."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data import Batches, as_input


def numbered(count: int, channels: int = 1, height: int = 2, width: int = 3) -> torch.Tensor:
    """Images of which every pixel is its own: 1, 2, 3, ... (none is 0, which is the padding)."""
    size = count * channels * height * width
    assert size < 256
    return torch.arange(1, size + 1, dtype=torch.uint8).view(count, channels, height, width)


def augmentations(image: torch.Tensor, padding: int, flip: bool) -> Counter[tuple[int, ...]]:
    """All crops of one padded image, mirrored and not, made pixel by pixel."""
    channels, height, width = image.shape
    found: Counter[tuple[int, ...]] = Counter()
    for down in range(-padding, padding + 1):
        for right in range(-padding, padding + 1):
            for mirrored in (False, True) if flip else (False,):
                pixels = []
                for channel in range(channels):
                    for y in range(height):
                        for x in range(width):
                            column = width - 1 - x if mirrored else x
                            inside = 0 <= y + down < height and 0 <= column + right < width
                            pixels.append(int(image[channel, y + down, column + right]) if inside else 0)
                found[tuple(pixels)] += 1
    return found


def as_levels(image: torch.Tensor) -> tuple[int, ...]:
    return tuple((image * 255).round().int().flatten().tolist())


@pytest.mark.parametrize(("padding", "flip"), [(0, False), (0, True), (1, False), (1, True), (2, True)])
def test_every_crop_and_mirror_image_appears_as_often_as_it_should_and_no_other(padding: int, flip: bool) -> None:
    images = numbered(1, channels=2)
    batches = Batches(images.expand(400, -1, -1, -1), torch.zeros(400, dtype=torch.int64), 64, padding, flip)
    allowed = augmentations(images[0], padding, flip)
    seen: Counter[tuple[int, ...]] = Counter()
    for epoch in range(10):
        for batch, _ in batches.epoch(torch.Generator().manual_seed(epoch)):
            assert batch.dtype == torch.float32
            seen.update(as_levels(image) for image in batch)
    assert seen.keys() == allowed.keys()
    for pixels, ways in allowed.items():
        share = ways / allowed.total()
        assert abs(seen[pixels] - 4000 * share) <= 5 * math.sqrt(4000 * share * (1 - share)), pixels


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    count=st.integers(1, 12),
    size=st.integers(1, 13),
    padding=st.integers(0, 2),
    flip=st.booleans(),
    seed=st.integers(0, 999),
)
def test_batches_equal_a_naive_loop(count: int, size: int, padding: int, flip: bool, seed: int) -> None:
    """The order, offsets and mirrorings are drawn in this order, for all samples of an epoch at once."""
    images, labels = numbered(count, 3, 2, 2), torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator).tolist()
    downs, rights = torch.randint(2 * padding + 1, (2, count), generator=generator).tolist()
    mirrored = (torch.rand(count, generator=generator) < 0.5).tolist()
    expected = []
    for index, down, right, mirror in zip(order, downs, rights, mirrored, strict=True):
        padded = torch.zeros(3, 2 + 2 * padding, 2 + 2 * padding)
        padded[:, padding : padding + 2, padding : padding + 2] = images[index]
        window = padded[:, down : down + 2, right : right + 2]
        expected.append(as_levels((window.flip(2) if flip and mirror else window) / 255))
    batches = list(Batches(images, labels, size, padding, flip).epoch(torch.Generator().manual_seed(seed)))
    assert [as_levels(image) for batch, _ in batches for image in batch] == expected
    assert [int(label) for _, part in batches for label in part] == order


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(1, 40), size=st.integers(1, 45))
def test_every_sample_once_an_epoch_and_the_last_batch_is_smaller(count: int, size: int) -> None:
    labels = torch.arange(count)
    batches = Batches(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), labels, size)
    parts = [part for _, part in batches.epoch(torch.Generator().manual_seed(0))]
    assert len(parts) == len(batches) == math.ceil(count / size)
    assert [len(part) for part in parts] == [size] * (count // size) + [count % size] * (count % size > 0)
    assert torch.cat(parts).sort().values.tolist() == list(range(count))


def test_labels_stay_with_their_images() -> None:
    images = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(-1, 1, 2, 2)
    for batch, labels in Batches(images, torch.arange(50), 8).epoch(torch.Generator().manual_seed(0)):
        assert torch.equal((batch[:, 0, 0, 0] * 255).round().long(), labels)


def test_pixels_are_levels_over_255() -> None:
    batches = Batches(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.arange(3), 3)
    batch, labels = next(batches.epoch(torch.Generator().manual_seed(0)))
    assert batch.flatten()[labels.argsort()].tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_order_follows_the_generator() -> None:
    batches = Batches(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), torch.arange(50), 50)
    orders = [next(batches.epoch(torch.Generator().manual_seed(seed)))[1].tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_images_stay_uint8_in_memory_and_are_padded_once() -> None:
    """No copy for each of the 81 windows: the memory is that of the padded images."""
    batches = Batches(torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10), 5, crop_padding=4, flip=True)
    assert batches.windows.dtype == torch.uint8
    assert batches.windows.shape == (10, 3, 9, 9, 8, 8)
    assert batches.windows.untyped_storage().nbytes() == 10 * 3 * 16 * 16


def test_the_memory_layout_of_the_images_changes_no_bit_of_a_network() -> None:
    """Grey images whose single channel has an odd stride hold the same pixels, and must meet the same kernels."""
    plain = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    odd = torch.empty_strided(plain.shape, (64, 1, 8, 1), dtype=torch.uint8).copy_(plain)
    assert torch.equal(plain, odd) and plain.stride() != odd.stride()
    assert as_input(odd).stride() == as_input(plain).stride() == (64, 64, 8, 1)
    batches = [
        next(Batches(images, torch.arange(8), 8).epoch(torch.Generator().manual_seed(1))) for images in (plain, odd)
    ]
    assert batches[0][0].stride() == batches[1][0].stride()
    assert torch.equal(batches[0][0], batches[1][0])
