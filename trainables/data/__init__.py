"""Labelled images. A data set is one file in this folder with one class that registers itself."""

import sys

from sparsweep.trainables.data.base import Dataset, ImageData, datasets
from sparsweep.trainables.data.paths import DamagedData, DataError, MissingData, data_root

datasets.load_all(sys.modules[__name__])

__all__ = ["DamagedData", "DataError", "Dataset", "ImageData", "MissingData", "data_root", "datasets"]
