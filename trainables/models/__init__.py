"""The networks. A network is one class here that registers itself, with its module in ``trainables.models.modules``.

It knows nothing of masks.
"""

import sys

from sparsweep.trainables.models.base import Model, layers_of, models
from sparsweep.trainables.models.measured import maskable

models.load_all(sys.modules[__name__], leave_out={"modules"})  # these need PyTorch

__all__ = ["Model", "layers_of", "maskable", "models"]
