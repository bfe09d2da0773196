"""Write the images of the first classes of CIFAR-100 as the folder that the sweep ``cifar100-small`` reads.

sparsweep data get cifar100
python docs/cifar100_folder.py ~/cifar100-small          # 10 classes: 5,000 training and 1,000 test images
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sparsweep.trainables.data import datasets


def write(destination: Path, classes: int = 10) -> None:
    """Write ``train/CLASS/*.png`` and ``test/CLASS/*.png`` of the first ``classes`` classes by name."""
    dataset = datasets.parse("cifar100")
    images, names = dataset.load(), dataset.class_names()
    for split in ("train", "test"):
        pixels, labels = getattr(images, f"{split}_images"), getattr(images, f"{split}_labels")
        for name in sorted(names)[:classes]:
            folder = destination / split / name
            folder.mkdir(parents=True)
            for number, image in enumerate(pixels[labels == names.index(name)]):
                Image.fromarray(np.moveaxis(image, 0, -1)).save(folder / f"{number:03}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]).expanduser(), *(int(number) for number in sys.argv[2:3]))
