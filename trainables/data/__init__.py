"""Data sets of labeled images. Each data set is one file in this folder with one class that registers itself."""

import sys

from sparsweep.trainables.data.base import Dataset, ImageData, datasets
from sparsweep.trainables.data.paths import CorruptDataError, DataError, MissingDataError, data_root

datasets.load_all(sys.modules[__name__])

__all__ = ["CorruptDataError", "DataError", "Dataset", "ImageData", "MissingDataError", "data_root", "datasets"]
