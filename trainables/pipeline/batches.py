"""Training batches, made by tensor operations from uint8 images on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.augmentation import crop, flip, rotate
from sparsweep.trainables.pipeline.device_data import to_float


class BatchIterator:
    """Shuffled, augmented batches of some samples of a training set.

    All trials of a node share the images: a batch is gathered from them, without another copy. The augmentations are,
    in this order: random crop, mirror (probability 1/2), rotation by a uniform random angle. ``drop_last`` drops an
    incomplete last batch.

    Attributes:
        images: uint8 (N, C, H, W), on the device of the batches.
        labels: int64 (N,), on the same device.
        indices: int64: the samples to use, on the same device.
        batch_size: Number of samples per batch.
        crop_padding: Pixels of zeros around an image before a random crop.
        flip: Whether half of the images are mirrored left to right.
        rotation: Maximum angle in degrees, in both directions.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        indices: torch.Tensor,
        batch_size: int,
        crop_padding: int = 0,
        flip: bool = False,
        rotation: float = 0.0,
        drop_last: bool = False,
    ) -> None:
        self.images, self.labels, self.indices = images, labels, indices
        self.batch_size = batch_size
        self.crop_padding, self.flip, self.rotation = crop_padding, flip, rotation
        self.epoch_samples = len(indices) - (len(indices) % batch_size if drop_last else 0)
        """Number of samples per epoch, without those of a dropped last batch."""

    def __len__(self) -> int:
        """Return the number of batches per epoch. The last batch can be smaller."""
        return math.ceil(self.epoch_samples / self.batch_size)

    def stream(
        self, first: int, end: int, generator: Callable[[int], torch.Generator]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches ``first`` to ``end - 1`` of a sequence of passes.

        Args:
            first: Number of the first batch, counted from 0 over all passes.
            end: Number after the last batch.
            generator: Function that returns the generator of a pass, given its number.
        """
        while first < end:
            number, offset = divmod(first, len(self))
            yield from islice(self.iter_epoch(generator(number), offset), end - first)
            first += len(self) - offset

    def samples_in(self, steps: int) -> int:
        """Return the number of samples in the first ``steps`` batches of a sequence of passes."""
        passes, rest = divmod(steps, len(self))
        return passes * self.epoch_samples + min(rest * self.batch_size, self.epoch_samples)

    def iter_epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of one pass in random order: images float32 (N, C, H, W) in [0, 1], labels int64 (N,).

        All random numbers of the pass are drawn at its start, so a pass can start at any batch.

        Args:
            generator: CPU generator of the pass.
            first: Number of the first batch to yield.
        """
        # Draw order is part of reproducibility. Append new random draws at the end.
        count, device = len(self.indices), self.indices.device
        order = torch.randperm(count, generator=generator).to(device)
        offsets = torch.randint(2 * self.crop_padding + 1, (2, count), generator=generator).to(device)
        mirrored = torch.rand(count, generator=generator).to(device) < 0.5
        if self.rotation:
            degrees = torch.empty(count).uniform_(-self.rotation, self.rotation, generator=generator).to(device)
        for start in range(first * self.batch_size, self.epoch_samples, self.batch_size):
            part = slice(start, start + self.batch_size)
            index = self.indices[order[part]]
            images = crop(self.images[index], offsets[:, part], self.crop_padding)
            if self.flip:
                images = flip(images, mirrored[part])
            if self.rotation:
                images = rotate(images, degrees[part])
            yield to_float(images), self.labels[index]
