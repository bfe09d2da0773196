"""Data set on a device, converted to the channels and image size of one network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sparsweep.trainables.data.base import ImageData, Statistics
from sparsweep.trainables.lazy import functional, torch
from sparsweep.trainables.specs.parts import ModelSpec

CHUNK = 1000
"""Number of images per chunk in operations that need a copy with a wider type."""


def model_input_shape(shape: tuple[int, ...], channels: int, min_size: int) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of images after :func:`resize_to_model`.

    Args:
        shape: Shape (channels, height, width) of the stored images.
        channels: Number of input channels of the network.
        min_size: Minimum of the shorter side in pixels.
    """
    _, height, width = shape
    scale = max(1.0, min_size / min(height, width))
    return channels, round(height * scale), round(width * scale)


def resize_to_model(images: torch.Tensor, channels: int, min_size: int) -> torch.Tensor:
    """Convert images to the channels and minimum size of a network. Images that fit are not copied.

    Gray becomes RGB by repetition. RGB becomes gray by the ITU-R 601 luma weights (as in PIL's ``convert("L")``). Small
    images are enlarged by bilinear interpolation.

    Args:
        images: uint8 (N, C, H, W).
        channels: Number of input channels of the network.
        min_size: Minimum of the shorter side in pixels.
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
    """Data set for one network on one device: uint8 images (N, C, H, W), int64 labels (N,), statistics in [0, 1]."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    corrupted_images: torch.Tensor | None = None
    """Corrupted test images, if the trial has a corruption."""
    validation_images: torch.Tensor = field(default_factory=lambda: torch.empty((0, 1, 1, 1), dtype=torch.uint8))
    validation_labels: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 images to float32 in [0, 1], with contiguous memory layout.

    PyTorch selects kernels by the memory layout, and kernels differ in the last bits. Without this conversion, the
    strides of a single gray channel are arbitrary.
    """
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def channel_statistics(images: torch.Tensor) -> Statistics:
    """Return mean and population standard deviation per channel of uint8 images, divided by 255.

    The function counts gray levels. The result therefore does not depend on summation order or rounding, and the images
    are not copied. A constant channel has standard deviation 1, which avoids a division by 0.
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
    """Return a tensor that shares the memory of ``array``. Do not write to it: processes can share this memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def to_device_data(data: ImageData, channels: int, min_size: int, device: torch.device) -> DeviceData:
    """Convert a data set for a network (see :func:`resize_to_model`) and move it to a device.

    On a CPU, images that fit are not copied: the result shares the memory of ``data`` and is read-only.

    Args:
        data: The data set.
        channels: Number of input channels of the network.
        min_size: Minimum of the shorter image side in pixels.
        device: Target device.
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


class DeviceDataCache:
    """The data set of the latest run, in the form of its network, on one device.

    It holds one data set, because a worker goes through many, and the memory of a GPU would fill up.

    Args:
        device: Target device.

    Attributes:
        held: The data set of the latest run, or None.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.held: DeviceData | None = None
        self._key: tuple[str, int, int] | None = None

    def get(self, dataset: str, model: ModelSpec, load_images: Callable[[], ImageData]) -> DeviceData:
        """Return a data set in the form of a network.

        Args:
            dataset: JSON of the data set.
            model: The network.
            load_images: Loads the data set, if it is not held.
        """
        key = (dataset, model.channels, model.min_size)
        if self.held is None or self._key != key:
            self.held = None  # frees its memory first
            self.held = to_device_data(load_images(), model.channels, model.min_size, self.device)
            self._key = key
        return self.held
