"""The image corruptions of Hendrycks & Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations* (ICLR 2019), as pure functions of arrays: NumPy, SciPy and PIL, no global randomness.

Conventions are those of their released code, results included to within one grey level for what is not random: linear
algebra on grey levels, fractions cut off at the end. Each module names its departures, ``constants.py`` its sources.
"""

from trainables.corruptions.apply import corrupt
from trainables.corruptions.assignment import ASSIGNMENTS, assign
from trainables.corruptions.catalogue import CORRUPTIONS, TYPE_SETS
from trainables.corruptions.constants import SEVERITIES

__all__ = ["ASSIGNMENTS", "CORRUPTIONS", "SEVERITIES", "TYPE_SETS", "assign", "corrupt"]
