"""Images of another data set, on which a trained network should be unsure."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.specs.parts import DatasetField, DatasetSpec
from sparsweep.trainables.specs.run import RunSpec


class OodImagesSpec(RunSpec):
    """Run that writes the test images of an out-of-distribution data set, for all trials."""

    dataset: DatasetField

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.dataset

    @property
    def num_epochs(self) -> int:
        return 1

    def images(self, data: Any) -> Any:
        """Return the images, uint8 ``(N, C, H, W)``.

        Args:
            data: The data set (``data.ImageData``).
        """
        return data.test_images

    def __str__(self) -> str:
        return f"test images of {self.dataset.name}"
