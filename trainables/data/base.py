"""What a data set is: uint8 images and labels in memory, fetched once and shared by every trial of a node."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables.deferred import functional, torch
from sparsweep.trainables.values import Named, Registry

if TYPE_CHECKING:
    from sparsweep.trainables.spec import TrialSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels in [0, 1]."""

CHUNK = 1000
"""Images that are worked on at a time where a copy in a wider type is needed."""


@dataclass(frozen=True)
class ImageData:
    """A data set in memory, as NumPy arrays: uint8 images [N, C, H, W] with C of 1 or 3, int64 labels in [0, classes).

    The driver puts it into Ray's object store once; there every process of a node reads the same pages of shared
    memory, for an array taken out of the store is a read-only view of them. :func:`place` keeps it that way on a CPU,
    so that many workers hold one copy between them. Nothing may write into these arrays.

    ``validation_images`` were held out of the training set and may be none. ``statistics``: published ones to
    normalise by; None for those of the training images.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    validation_images: np.ndarray = field(default_factory=lambda: np.empty((0, 1, 1, 1), np.uint8))
    validation_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    statistics: Statistics | None = None


class Dataset(Named):
    """A source of labelled images; a subclass registers under its name and loads itself."""

    validation: int = Field(default=0, ge=0, description="training images that are held out to validate on")

    @property
    def available(self) -> int:
        """Number of training images that there are, those held out included; known without loading them."""
        raise NotImplementedError

    @property
    def train_size(self) -> int:
        """Number of training images, known without loading them (it prices a sweep)."""
        return self.available - self.validation

    @property
    def classes(self) -> int:
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image as stored."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.train_size < 1:
            raise ValueError(f"validation: {self.validation} leaves nothing to train on of {self.available} images")
        return self

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        """What the classes are called, in the order of their labels; numbers where no file under ``root`` says."""
        return tuple(f"class {label}" for label in range(self.classes))

    def check(self, spec: TrialSpec) -> None:
        """ValueError if ``spec`` cannot use it as it is described."""

    def load(self, root: Path | None = None) -> ImageData:
        """The images, from files under ``root`` (default: :func:`trainables.data.files.data_root`) where there are any.

        MissingData or DamagedData, each with one line that names the file and the remedy.
        """
        raise NotImplementedError


datasets: Registry[Dataset] = Registry("dataset")


def fitted_shape(shape: tuple[int, ...], channels: int, min_size: int) -> tuple[int, int, int]:
    """(channels, height, width) of images of ``shape`` after :func:`fit`: the shorter side is at least ``min_size``."""
    _, height, width = shape
    scale = max(1.0, min_size / min(height, width))
    return channels, round(height * scale), round(width * scale)


def fit(images: torch.Tensor, channels: int, min_size: int) -> torch.Tensor:
    """uint8 [N, C, H, W] as a network wants it: ``channels`` channels, sides of at least ``min_size`` pixels.

    Grey becomes RGB by repetition, RGB becomes grey by the ITU-R 601 luma weights (those of PIL's ``convert("L")``),
    small images are enlarged by bilinear interpolation. Images that fit are returned as they are.
    """
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    elif images.shape[1] == 3 and channels == 1:
        weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
        images = (images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    size = fitted_shape(tuple(images.shape[1:]), channels, min_size)[1:]
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


def as_input(images: torch.Tensor) -> torch.Tensor:
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


def shared_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor on the memory of ``array``, which may be shared by processes: it is not to be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def place(data: ImageData, channels: int, min_size: int, device: torch.device) -> DeviceData:
    """Fit the images of ``data`` to a network (see :func:`fit`) and move everything to ``device``.

    On a CPU images that fit are not copied: the result shares the memory of ``data``, and is as read-only.
    """

    train, test, validation = (
        fit(shared_tensor(images), channels, min_size)
        for images in (data.train_images, data.test_images, data.validation_images)
    )
    mean, std = data.statistics or channel_statistics(train)
    return DeviceData(
        train.to(device),
        shared_tensor(data.train_labels).to(device),
        test.to(device),
        shared_tensor(data.test_labels).to(device),
        data.classes,
        mean,
        std,
        validation_images=validation.to(device),
        validation_labels=shared_tensor(data.validation_labels).to(device),
    )
