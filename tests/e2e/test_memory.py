"""The workers of a node share one copy of a data set. The memory of real workers is measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import ray
import torch

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data

IMAGES = 60_000
SIZE = IMAGES * 3 * 32 * 32
"""Size of CIFAR in bytes: 50,000 training and 10,000 test images."""


@pytest.fixture(scope="module")
def cifar_sized() -> Iterator[ray.ObjectRef]:
    """Start a separate Ray and put images of the size of CIFAR into its object store."""
    options = {"num_cpus": 2, "object_store_memory": 3 * SIZE, "include_dashboard": False, "log_to_driver": False}
    ray.init(address="local", **options)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(IMAGES) % 100
    parts = images[:50_000], labels[:50_000], images[50_000:], labels[50_000:]
    yield ray.put(ImageData(*parts, classes=100))
    ray.shutdown()


@ray.remote(num_cpus=1)
class Worker:
    """Holds a data set as a worker of a sweep does, and measures its private memory."""

    def __init__(self) -> None:
        to_device_data(tiny(), 3, 32, torch.device("cpu"))  # allocations of the first call are not measured
        self.data: DeviceData | None = None
        self.before = psutil.Process().memory_full_info().uss

    def hold(self, images: ImageData, copied: bool) -> None:
        """Load the images as a worker does and draw a batch.

        Args:
            images: Images from the object store.
            copied: Copy the images first, which a worker must not do.
        """
        if copied:
            images = ImageData(
                images.train_images.copy(), images.train_labels, images.test_images.copy(), images.test_labels, 100
            )
        self.data = to_device_data(images, 3, 32, torch.device("cpu"))
        indices = torch.arange(0, 50_000, 2)
        self.batches = BatchIterator(self.data.train_images, self.data.train_labels, indices, 128, 4, True, 15.0)
        next(self.batches.iter_epoch(torch.Generator().manual_seed(0)))

    def growth(self) -> int:
        """Read all images, and return the growth of private memory (USS) since the start, in bytes."""
        assert self.data is not None
        self.data.train_images.max(), self.data.test_images.max()
        return psutil.Process().memory_full_info().uss - self.before


def tiny() -> ImageData:
    images, labels = np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, np.int64)
    return ImageData(images, labels, images, labels, 1)


def growth(images: ray.ObjectRef, copied: bool) -> list[int]:
    """Return the growth of private memory of each of two workers that hold the images at the same time."""
    workers = [Worker.remote() for _ in range(2)]
    ray.get([worker.hold.remote(images, copied) for worker in workers])
    grown = [ray.get(worker.growth.remote()) for worker in workers]
    for worker in workers:
        ray.kill(worker)
    return grown


def test_workers_share_the_images(cifar_sized: ray.ObjectRef) -> None:
    """Loading, statistics and one batch together take less than 1/5 of the size of the images."""
    assert max(growth(cifar_sized, copied=False)) < SIZE / 5


def test_a_copy_of_the_images_is_detected(cifar_sized: ray.ObjectRef) -> None:
    """Shows that the test above can fail."""
    assert min(growth(cifar_sized, copied=True)) > 0.9 * SIZE
