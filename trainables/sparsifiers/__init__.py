"""The sparsifiers. A method is one file here with one class that registers itself."""

import sys

from sparsweep.trainables.sparsifiers.base import Moment, Sparsifier, Start, dense_parent, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.timeline import Timeline

sparsifiers.load_all(sys.modules[__name__])

__all__ = ["Masks", "Moment", "Sparsifier", "Start", "Timeline", "dense_parent", "sparsifiers"]
