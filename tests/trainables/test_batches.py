"""Batches against a naive loop over images."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.pipeline.augmentation import rotate
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import to_float


def numbered(count: int, channels: int = 1, height: int = 2, width: int = 3) -> torch.Tensor:
    """Return images whose pixels all differ: 1, 2, 3, ... None is 0, the value of the padding."""
    size = count * channels * height * width
    assert size < 256
    return torch.arange(1, size + 1, dtype=torch.uint8).view(count, channels, height, width)


def augmentations(image: torch.Tensor, padding: int, flip: bool) -> Counter[tuple[int, ...]]:
    """Return all crops of one padded image, mirrored and not, computed pixel by pixel."""
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


def batches_of_all(images: torch.Tensor, labels: torch.Tensor, *arguments: Any, **options: Any) -> BatchIterator:
    """Return the batches of all images of a data set."""
    return BatchIterator(images, labels, torch.arange(len(labels)), *arguments, **options)


def as_levels(image: torch.Tensor) -> tuple[int, ...]:
    return tuple((image * 255).round().int().flatten().tolist())


@pytest.mark.parametrize(("padding", "flip"), [(0, False), (0, True), (1, False), (1, True), (2, True)])
def test_every_crop_and_flip_has_its_probability(padding: int, flip: bool) -> None:
    images = numbered(1, channels=2)
    batches = batches_of_all(images.expand(400, -1, -1, -1), torch.zeros(400, dtype=torch.int64), 64, padding, flip)
    allowed = augmentations(images[0], padding, flip)
    seen: Counter[tuple[int, ...]] = Counter()
    for epoch in range(10):
        for batch, _ in batches.iter_epoch(torch.Generator().manual_seed(epoch)):
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
    """The order of samples, the offsets and the flips are drawn in this order, for a whole epoch at once."""
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
    batches = list(batches_of_all(images, labels, size, padding, flip).iter_epoch(torch.Generator().manual_seed(seed)))
    assert [as_levels(image) for batch, _ in batches for image in batch] == expected
    assert [int(label) for _, part in batches for label in part] == order


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(1, 40), size=st.integers(1, 45))
def test_each_epoch_has_every_sample_once_and_a_smaller_last_batch(count: int, size: int) -> None:
    labels = torch.arange(count)
    batches = batches_of_all(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), labels, size)
    parts = [part for _, part in batches.iter_epoch(torch.Generator().manual_seed(0))]
    assert len(parts) == len(batches) == math.ceil(count / size)
    assert [len(part) for part in parts] == [size] * (count // size) + [count % size] * (count % size > 0)
    assert torch.cat(parts).sort().values.tolist() == list(range(count))


def test_labels_stay_with_their_images() -> None:
    images = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(-1, 1, 2, 2)
    for batch, labels in batches_of_all(images, torch.arange(50), 8).iter_epoch(torch.Generator().manual_seed(0)):
        assert torch.equal((batch[:, 0, 0, 0] * 255).round().long(), labels)


def test_pixels_are_divided_by_255() -> None:
    batches = batches_of_all(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.arange(3), 3)
    batch, labels = next(batches.iter_epoch(torch.Generator().manual_seed(0)))
    assert batch.flatten()[labels.argsort()].tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_order_follows_the_generator() -> None:
    batches = batches_of_all(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), torch.arange(50), 50)
    orders = [next(batches.iter_epoch(torch.Generator().manual_seed(seed)))[1].tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_batches_of_a_seed_never_change() -> None:
    """A seed must always give the crops, flips and order that it gave for the first results."""
    images = torch.randint(256, (37, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = BatchIterator(images, torch.arange(37), torch.arange(1, 37, 3), 5, crop_padding=2, flip=True)
    content = hashlib.sha256()
    for batch, labels in batches.iter_epoch(torch.Generator().manual_seed(7)):
        content.update(batch.numpy().tobytes())
        content.update(labels.numpy().tobytes())
    assert content.hexdigest() == "9662a6fc0c7eaca8da509c182b2ad427ae3665d085fecce2ed06af8347091914"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(chosen=st.lists(st.integers(0, 14), min_size=1, max_size=12, unique=True), size=st.integers(1, 13))
def test_batches_of_a_subset_equal_those_of_a_data_set_with_these_samples(chosen: list[int], size: int) -> None:
    images, labels, indices = numbered(15, 2, 2, 3), torch.arange(100, 115), torch.tensor(chosen)
    options = {"crop_padding": 1, "flip": True, "rotation": 40.0}
    few = batches_of_all(images[indices], labels[indices], size, **options).iter_epoch(torch.Generator().manual_seed(3))
    shared = BatchIterator(images, labels, indices, size, **options).iter_epoch(torch.Generator().manual_seed(3))
    for one, other in zip(few, shared, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_batches_share_the_images_of_the_data_set() -> None:
    """Trials on one data set share its images, whichever samples each uses. No trial changes them."""
    images, labels = numbered(10, 1, 2, 3), torch.arange(10)
    before = images.clone()
    batches = BatchIterator(images, labels, torch.arange(5), 2, crop_padding=2, flip=True, rotation=15)
    held = [value for value in vars(batches).values() if isinstance(value, torch.Tensor)]
    assert {value.data_ptr() for value in held} == {images.data_ptr(), labels.data_ptr(), batches.indices.data_ptr()}
    list(batches.iter_epoch(torch.Generator().manual_seed(0)))
    assert torch.equal(images, before)


def test_rotation_is_applied_last_by_angles_drawn_last() -> None:
    """Each batch is the batch without rotation, rotated by angles drawn after all other random numbers of the epoch."""
    images, labels, indices = numbered(6, 1, 5, 7), torch.arange(6), torch.tensor([5, 0, 3, 2])
    generator = torch.Generator().manual_seed(5)
    unrotated = list(BatchIterator(images, labels, indices, 3, 1, True).iter_epoch(generator))
    degrees = torch.empty(4).uniform_(-25, 25, generator=generator)
    rotated = BatchIterator(images, labels, indices, 3, 1, True, rotation=25).iter_epoch(
        torch.Generator().manual_seed(5)
    )
    for (plain, names), (batch, same_names), angles in zip(unrotated, rotated, degrees.split(3), strict=True):
        expected = rotate((plain * 255).round().to(torch.uint8), angles)
        assert torch.equal(batch, to_float(expected)) and torch.equal(names, same_names)
    assert degrees.abs().max() > 5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(1, 30), size=st.integers(1, 12))
def test_drop_last_leaves_out_an_incomplete_batch(count: int, size: int) -> None:
    """The other batches stay the same. The number of samples per epoch falls by the size of the dropped batch."""
    images, labels = torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.arange(count)
    all_batches, full_batches = (
        batches_of_all(images, labels, size),
        batches_of_all(images, labels, size, drop_last=True),
    )
    parts = [
        [names.tolist() for _, names in batches.iter_epoch(torch.Generator().manual_seed(1))]
        for batches in (all_batches, full_batches)
    ]
    assert parts[1] == [part for part in parts[0] if len(part) == size]
    assert (all_batches.epoch_samples, full_batches.epoch_samples) == (count, size * len(parts[1]))
    assert (len(all_batches), len(full_batches)) == (len(parts[0]), len(parts[1]))


def test_batches_have_one_memory_layout_whatever_that_of_the_images() -> None:
    """Gray images whose single channel has an unusual stride have the same pixels and must use the same kernels."""
    plain = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    odd = torch.empty_strided(plain.shape, (64, 1, 8, 1), dtype=torch.uint8).copy_(plain)
    assert torch.equal(plain, odd) and plain.stride() != odd.stride()
    assert to_float(odd).stride() == to_float(plain).stride() == (64, 64, 8, 1)
    batches = [
        next(batches_of_all(images, torch.arange(8), 8).iter_epoch(torch.Generator().manual_seed(1)))
        for images in (plain, odd)
    ]
    assert batches[0][0].stride() == batches[1][0].stride()
    assert torch.equal(batches[0][0], batches[1][0])
