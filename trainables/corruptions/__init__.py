"""Image corruptions of Hendrycks & Dietterich (ICLR 2019), as pure functions of arrays.

Paper: *Benchmarking Neural Network Robustness to Common Corruptions and Perturbations*. This package uses NumPy, SciPy
and PIL, and no global random state.

The conventions are those of the released code: arithmetic on gray levels, fractions truncated at the end. Deterministic
results agree with that code to within one gray level. Each module lists its departures; ``severities.py`` lists the
sources of the constants.

Departures of all types: every image has its own random stream (the released code uses NumPy's global one). Images need
not be square. A value slightly below an integer level, because of rounding errors, becomes that level. Tiny-ImageNet-C
was stored as JPEG of quality 85 after the corruption; here the pixels are stored unchanged.
"""

from sparsweep.trainables.corruptions.apply import corrupt
from sparsweep.trainables.corruptions.assignment import ASSIGNMENTS, assign
from sparsweep.trainables.corruptions.random_streams import Glass
from sparsweep.trainables.corruptions.registry import CORRUPTIONS, TYPE_SETS
from sparsweep.trainables.corruptions.severities import SEVERITIES

__all__ = ["ASSIGNMENTS", "CORRUPTIONS", "SEVERITIES", "TYPE_SETS", "Glass", "assign", "corrupt"]
