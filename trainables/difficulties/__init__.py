"""Difficulties of training data. One difficulty is one file with one class that registers itself."""

import sys

from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, difficulties
from sparsweep.trainables.specs.trial import subset_size

difficulties.load_all(sys.modules[__name__])

__all__ = ["Difficulty", "PrerequisiteOutputs", "difficulties", "subset_size"]
