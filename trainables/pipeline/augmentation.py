"""Augmentations of a batch on its device: pure functions of the images and of random numbers drawn before.

Images are uint8 (N, C, H, W) and stay uint8: every operation only moves pixels.
"""

from __future__ import annotations

from sparsweep.trainables.lazy import functional, torch


def crop(images: torch.Tensor, offsets: torch.Tensor, padding: int) -> torch.Tensor:
    """Pad each image with zeros and crop a window of the original size.

    Args:
        images: uint8 (N, C, H, W).
        offsets: int64 (2, N): first row and first column of each window, in [0, 2 * padding].
        padding: Number of pixels on each side.
    """
    height, width = images.shape[2:]
    padded = functional.pad(images, [padding] * 4)
    # A view (N, C, shifts, shifts, H, W): the window at (y, x) of image i is windows[i, :, y, x].
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, offsets[0], offsets[1]]


def flip(images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Mirror images left to right where ``mirrored`` is true.

    Args:
        images: uint8 (N, C, H, W).
        mirrored: bool (N,).
    """
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def rotate(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Rotate each image counter-clockwise about its center.

    A pixel takes the value of the nearest pixel of the original, or 0 outside the image. This is torchvision's
    ``RandomRotation`` with its default interpolation and fill.

    Args:
        images: uint8 (N, C, H, W).
        degrees: float32 (N,): angles in degrees.
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, -1, 1) - (height - 1) / 2
    columns = torch.arange(width, device=images.device).view(1, 1, -1) - (width - 1) / 2
    radians = degrees.deg2rad().view(-1, 1, 1)
    cos, sin = radians.cos(), radians.sin()
    # Source position of each output pixel, rounded to the pixel that contains it.
    row = (sin * columns + cos * rows + height / 2).floor().long()
    column = (cos * columns - sin * rows + width / 2).floor().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    source = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
    rotated = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return rotated * inside[:, None]
