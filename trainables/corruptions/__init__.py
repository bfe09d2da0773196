"""The image corruptions of Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations* (ICLR 2019), as pure functions of arrays: NumPy, SciPy and PIL, no global randomness.

Conventions are those of their released code, results included to within one grey level for what is not random: linear
algebra on grey levels, fractions cut off at the end. Each module names its departures, ``constants.py`` its sources.

Departures of all types: every image draws from a stream of its own (there: NumPy's global one); images need not be
square; a value that rounding leaves just below a whole level is that level. Tiny-ImageNet-C was stored as JPEG of
quality 85 after it was corrupted; here pixels are kept as they are.
"""

from sparsweep.trainables.corruptions.apply import corrupt
from sparsweep.trainables.corruptions.assignment import ASSIGNMENTS, assign
from sparsweep.trainables.corruptions.random_streams import Glass
from sparsweep.trainables.corruptions.registry import CORRUPTIONS, TYPE_SETS
from sparsweep.trainables.corruptions.severities import SEVERITIES

__all__ = ["ASSIGNMENTS", "CORRUPTIONS", "SEVERITIES", "TYPE_SETS", "Glass", "assign", "corrupt"]
