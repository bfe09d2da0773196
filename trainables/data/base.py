"""What a data set is: uint8 images and labels in memory, fetched once and shared by every trial of a node."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from trainables.values import Named, Registry


@dataclass(frozen=True)
class ImageData:
    """A data set in memory. NumPy arrays, because Ray's object store shares those between processes without a copy.

    ``train_images`` and ``test_images``: uint8 [N, C, H, W] with C of 1 or 3; labels: int64 [N] in [0, classes).
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int


class Dataset(Named):
    """A source of labelled images; a subclass registers under its name and loads itself."""

    @property
    def train_size(self) -> int:
        """Number of training images, known without loading them (it prices a sweep)."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image as stored."""
        raise NotImplementedError

    def load(self) -> ImageData:
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
        scaled = functional.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
        images = scaled.round().to(torch.uint8)
    return images.contiguous()


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


def as_input(images: torch.Tensor) -> torch.Tensor:
    """float32 in [0, 1] of uint8 images, in the standard memory layout.

    The layout matters: networks choose their kernels by it, and kernels differ in the last bits. Strides of a single
    grey channel are arbitrary until they are set here.
    """
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def shared_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor on the memory of ``array``, which may be shared by processes: it is not to be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def place(data: ImageData, channels: int, min_size: int, device: torch.device) -> DeviceData:
    """Fit the images of ``data`` to a network (see :func:`fit`) and move everything to ``device``."""

    train = fit(shared_tensor(data.train_images), channels, min_size)
    test = fit(shared_tensor(data.test_images), channels, min_size)
    # In whole numbers first, so that the statistics do not depend on the order in which pixels are added.
    pixels = train.transpose(0, 1).flatten(1)
    levels = torch.stack([torch.bincount(channel, minlength=256) for channel in pixels]).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (levels * values).sum(1) / levels.sum(1)
    variance = (levels * (values - mean[:, None]) ** 2).sum(1) / levels.sum(1)
    return DeviceData(
        train.to(device),
        shared_tensor(data.train_labels).to(device),
        test.to(device),
        shared_tensor(data.test_labels).to(device),
        data.classes,
        tuple(mean.tolist()),
        tuple(variance.sqrt().tolist()),
    )
