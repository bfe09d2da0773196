"""A data set as one network takes it, on one device: its channels, its image size, its statistics."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np

from sparsweep.trainables.data.base import ImageData, Statistics
from sparsweep.trainables.lazy import functional, torch

CHUNK = 1000
"""Images that are worked on at a time where a copy in a wider type is needed."""


def model_input_shape(shape: tuple[int, ...], channels: int, min_size: int) -> tuple[int, int, int]:
    """(channels, height, width) of images of ``shape`` after :func:`fit`: the shorter side is at least ``min_size``."""
    _, height, width = shape
    scale = max(1.0, min_size / min(height, width))
    return channels, round(height * scale), round(width * scale)


def resize_to_model(images: torch.Tensor, channels: int, min_size: int) -> torch.Tensor:
    """uint8 [N, C, H, W] as a network wants it: ``channels`` channels, sides of at least ``min_size`` pixels.

    Grey becomes RGB by repetition, RGB becomes grey by the ITU-R 601 luma weights (those of PIL's ``convert("L")``),
    small images are enlarged by bilinear interpolation. Images that fit are returned as they are.
    """
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    elif images.shape[1] == 3 and channels == 1:
        weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
        images = (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    size = model_input_shape(tuple(images.shape[1:]), channels, min_size)[1:]
    if size != images.shape[2:]:
        images = torch.cat([_scaled(part, size) for part in images.split(CHUNK)])
    return images.contiguous()


def _scaled(images: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    scaled = functional.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
    return scaled.round().to(torch.uint8)


@dataclass(frozen=True)
class DeviceData:
    """A data set as one network wants it, on one device: uint8 images, int64 labels, channel statistics in [0, 1]."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    corrupted_images: torch.Tensor | None = None
    """The test images under the trial's corruption."""
    validation_images: torch.Tensor = field(default_factory=lambda: torch.empty((0, 1, 1, 1), dtype=torch.uint8))
    validation_labels: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """float32 in [0, 1] of uint8 images, in the standard memory layout.

    The layout matters: networks choose their kernels by it, and kernels differ in the last bits. Strides of a single
    grey channel are arbitrary until they are set here.
    """
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def channel_statistics(images: torch.Tensor) -> Statistics:
    """Mean and (population) standard deviation of the channels of uint8 ``images``, over 255.

    Levels are counted, so the result depends neither on the order in which pixels are added nor on a rounding, and
    no copy of the images is made. A channel without contrast has deviation 1: it is centred, not divided by nothing.
    """
    channels = range(images.shape[1])
    counts = torch.zeros(len(channels), 256, dtype=torch.int64)
    for part in images.split(CHUNK):
        counts += torch.stack([torch.bincount(part[:, channel].flatten(), minlength=256) for channel in channels])
    levels = counts.double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (levels * values).sum(1) / levels.sum(1)
    variance = (levels * (values - mean[:, None]) ** 2).sum(1) / levels.sum(1)
    deviation = torch.where(variance > 0, variance.sqrt(), 1.0)
    return tuple(mean.tolist()), tuple(deviation.tolist())


def tensor_view(array: np.ndarray) -> torch.Tensor:
    """A tensor on the memory of ``array``, which may be shared by processes: it is not to be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def to_device_data(data: ImageData, channels: int, min_size: int, device: torch.device) -> DeviceData:
    """Fit the images of ``data`` to a network (see :func:`fit`) and move everything to ``device``.

    On a CPU images that fit are not copied: the result shares the memory of ``data``, and is as read-only.
    """
    train, test, validation = (
        resize_to_model(tensor_view(images), channels, min_size)
        for images in (data.train_images, data.test_images, data.validation_images)
    )
    mean, std = data.statistics or channel_statistics(train)
    return DeviceData(
        train.to(device),
        tensor_view(data.train_labels).to(device),
        test.to(device),
        tensor_view(data.test_labels).to(device),
        data.classes,
        mean,
        std,
        validation_images=validation.to(device),
        validation_labels=tensor_view(data.validation_labels).to(device),
    )
