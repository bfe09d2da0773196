"""Data sets as tensors, and batches made from them on the device. A data set is one file here that registers itself."""

import sys

from sparsweep.trainables.data.base import (
    Dataset,
    DeviceData,
    ImageData,
    as_input,
    datasets,
    fit,
    fitted_shape,
    place,
    shared_tensor,
)
from sparsweep.trainables.data.batches import Batches
from sparsweep.trainables.data.files import DamagedData, DataError, MissingData, data_root

datasets.load_all(sys.modules[__name__])

__all__ = [
    "Batches",
    "DamagedData",
    "DataError",
    "Dataset",
    "DeviceData",
    "ImageData",
    "MissingData",
    "as_input",
    "data_root",
    "datasets",
    "fit",
    "fitted_shape",
    "place",
    "shared_tensor",
]
