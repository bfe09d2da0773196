"""Batches made by tensor operations on the device, from uint8 images that stay there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.augmentation import crop, flip, rotate
from sparsweep.trainables.pipeline.device_data import to_float


class BatchIterator:
    """Shuffled, augmented batches of the samples ``indices`` (int64) of a training set.

    ``images``: uint8 [N, C, H, W]; ``labels``: int64 [N]; all three on the device where batches are wanted. The images
    are shared by all trials that use them: a batch is gathered from them, and no other copy is made.

    In this order: ``crop_padding`` pixels of zeros are put around an image and a window of the original size is drawn
    from it; ``flip`` mirrors half of the images left to right; ``rotation`` turns each by an angle that is drawn
    uniformly, up to so many degrees either way. ``drop_last`` leaves out an incomplete last batch.
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
        """Samples that an epoch goes through."""

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return math.ceil(self.epoch_samples / self.batch_size)

    def stream(
        self, first: int, end: int, generator: Callable[[int], torch.Generator]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches ``first`` to before ``end`` of one pass after another; ``generator`` makes that of a pass."""
        while first < end:
            number, entered = divmod(first, len(self))
            yield from islice(self.iter_epoch(generator(number), entered), end - first)
            first += len(self) - entered

    def samples_in(self, steps: int) -> int:
        """Samples that ``steps`` batches hold, passes one after the other."""
        passes, rest = divmod(steps, len(self))
        return passes * self.epoch_samples + min(rest * self.batch_size, self.epoch_samples)

    def iter_epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield one pass in random order, from batch ``first`` on: (float32 [B, C, H, W] in [0, 1], int64 [B]).

        The randomness of the whole pass is drawn at once, so that a pass can be entered at any batch.
        """
        # What is drawn and in which order decides every bit of a training: new draws come last.
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
