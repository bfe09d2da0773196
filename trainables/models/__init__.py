"""Networks. A network is one class that registers itself; its modules are in ``trainables.models.modules``.

Networks are independent of masks.
"""

import sys

from sparsweep.trainables.models.base import Model, layers_of, models
from sparsweep.trainables.models.measured import maskable

models.load_all(sys.modules[__name__], leave_out={"modules"})  # imports PyTorch

__all__ = ["Model", "layers_of", "maskable", "models"]
