"""Batches made by tensor operations on the device, from uint8 images that stay there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn import functional

from trainables.data.base import as_input


class Batches:
    """Shuffled, augmented batches of one training set.

    ``images``: uint8 [N, C, H, W]; ``labels``: int64 [N]; both on the device where batches are wanted.
    ``crop_padding`` pixels of zeros are put around every image and a window of the original size is drawn from it;
    ``flip`` mirrors half of the images left to right. A crop is a gather from a view of all windows: one operation a
    batch, and no image is touched on the host.
    """

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, batch_size: int, crop_padding: int = 0, flip: bool = False
    ) -> None:
        self.labels = labels
        self.batch_size = batch_size
        self.flip = flip
        self.shifts = 2 * crop_padding + 1
        height, width = images.shape[2:]
        padded = functional.pad(images, [crop_padding] * 4)
        # [N, C, shifts, shifts, H, W], a view: the window at offset (y, x) of image i is windows[i, :, y, x].
        self.windows = padded.unfold(2, height, 1).unfold(3, width, 1)

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One pass in random order: (float32 [B, C, H, W] in [0, 1], int64 [B]); its randomness is drawn at once."""
        count, device = len(self.labels), self.labels.device
        order = torch.randperm(count, generator=generator).to(device)
        offsets = torch.randint(self.shifts, (2, count), generator=generator).to(device)
        mirrored = torch.rand(count, generator=generator).to(device) < 0.5
        for start in range(0, count, self.batch_size):
            part = slice(start, start + self.batch_size)
            index = order[part]
            images = self.windows[index, :, offsets[0, part], offsets[1, part]]
            if self.flip:
                images = torch.where(mirrored[part].view(-1, 1, 1, 1), images.flip(3), images)
            yield as_input(images), self.labels[index]
