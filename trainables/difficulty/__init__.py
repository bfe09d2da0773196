"""The difficulties. One is one file here with one class that registers itself."""

import sys

from trainables.difficulty.base import Difficulty, difficulties, subset_size

difficulties.load_all(sys.modules[__name__])

__all__ = ["Difficulty", "difficulties", "subset_size"]
