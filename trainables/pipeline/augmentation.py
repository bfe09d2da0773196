"""Augmentations of a whole batch at once, on the device where it lies: pure functions of what was drawn.

Images are uint8 [B, C, H, W] and stay so: every operation moves pixels, none computes new ones.
"""

from __future__ import annotations

from sparsweep.trainables.lazy import functional, torch


def crop(images: torch.Tensor, offsets: torch.Tensor, padding: int) -> torch.Tensor:
    """A window of the original size from each image with ``padding`` pixels of zeros around it.

    ``offsets``: int64 [2, B], the rows and columns at which the windows begin, in [0, 2 * padding].
    """
    height, width = images.shape[2:]
    padded = functional.pad(images, [padding] * 4)
    # [B, C, shifts, shifts, H, W], a view: the window at (y, x) of image i is windows[i, :, y, x].
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, offsets[0], offsets[1]]


def flip(images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """The images for which ``mirrored`` (bool [B]) is true left to right, the others as they are."""
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Each image turned about its centre, counter-clockwise by ``degrees`` (float32 [B]).

    A pixel takes the value of the nearest pixel of the original, 0 where that lies outside: what torchvision's
    ``RandomRotation`` does with its default interpolation and fill.
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, -1, 1) - (height - 1) / 2
    columns = torch.arange(width, device=images.device).view(1, 1, -1) - (width - 1) / 2
    radians = degrees.deg2rad().view(-1, 1, 1)
    cos, sin = radians.cos(), radians.sin()
    # Where each pixel comes from, and the pixel whose square that point lies in.
    row = (sin * columns + cos * rows + height / 2).floor().long()
    column = (cos * columns - sin * rows + width / 2).floor().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    source = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    turned = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return turned * inside[:, None]
