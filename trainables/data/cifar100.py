"""CIFAR-100: 60,000 color images of 32x32 pixels, 100 classes (see :mod:`trainables.data.cifar`).

Paper: EL2N and corruptions on all 50,000 training images (ResNet18, VGG19). Adversarial training of ResNet18 on the
first 45,000 images; the last 5,000 are for validation (``validation: 5000``), with ``recipe.rotation: 15``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.data.base import datasets
from sparsweep.trainables.data.cifar import CIFAR


@datasets.register
class CIFAR100(CIFAR):
    """CIFAR-100, 32x32 RGB, 100 classes, 50,000 training and 10,000 test images; 169 MB to download."""

    name: Literal["cifar100"] = "cifar100"
    statistics: Literal["train", "standard", "adversarial"] = Field(
        default="train", description="mean and standard deviation for normalization: of the images, or published ones"
    )

    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    folder = "cifar-100-python"
    class_count = 100
    train_files: ClassVar = {"train": "16019d7e3df5f24257cddd939b257f8d"}
    test_files: ClassVar = {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}
    label_key = b"fine_labels"
    names_file = "meta"
    names_key = b"fine_label_names"
    published_statistics: ClassVar = {
        "standard": ((0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)),
        "adversarial": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    }
