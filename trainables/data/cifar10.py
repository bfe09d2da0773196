"""CIFAR-10: 60,000 color images of 32x32 pixels, 10 classes (see :mod:`trainables.data.cifar`).

Paper: adversarial training of VGG16 on the first 45,000 images; the last 5,000 are for validation (``validation:
5000``). The ``adversarial`` standard deviations 0.2023/0.1994/0.2010 are common in published code. They are smaller
than the true values 0.2470/0.2435/0.2616, which ``train`` computes.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.data.base import datasets
from sparsweep.trainables.data.cifar import CIFAR


@datasets.register
class CIFAR10(CIFAR):
    """CIFAR-10, 32x32 RGB, 10 classes, 50,000 training and 10,000 test images; 170 MB to download."""

    name: Literal["cifar10"] = "cifar10"
    statistics: Literal["train", "adversarial"] = Field(
        default="train", description="mean and standard deviation for normalization: of the images, or published ones"
    )

    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    md5 = "c58f30108f718f92721af3b95e74349a"
    folder = "cifar-10-batches-py"
    class_count = 10
    train_files: ClassVar = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    }
    test_files: ClassVar = {"test_batch": "40351d587109b95175f43aff81a1287e"}
    label_key = b"labels"
    names_file = "batches.meta"
    names_key = b"label_names"
    published_statistics: ClassVar = {"adversarial": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))}
