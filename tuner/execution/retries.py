"""Why a run ended without a result, and whether and when it is tried again: the one place that decides.

What a run raises, or dies of on a machine that lives on, is its own failure: it is tried again a few times. The loss of
its machine (preempted, crashed, cut off) is not: it is tried again without limit. Each time a little later.
"""

from __future__ import annotations

import pyarrow as pa

from sparsweep.trainables.storage.store import ArtifactLost
from sparsweep.tuner.ray_errors import is_lost_node, unwrap

NON_RETRYABLE = (
    ArtifactLost,  # which only the run that left it makes again
    ArithmeticError,  # of which a loss that is not a number is one
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""Deterministic errors: not retried until ``sparsweep resume``. A RuntimeError may be a GPU's, an OSError a disk's."""
MAX_DELAY_S = 60.0


class TrialTimeout(Exception):
    """No epoch of the run ended in time, so that it was killed."""


class RetryPolicy:
    """The failures of one run under one driver. ``limit``: how many of its own it may have and still be tried again."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.errors = 0
        self.losses = 0
        self._is_deterministic = False

    def add(self, error: Exception) -> None:
        """Count one more failure."""
        if is_lost_node(error):
            self.losses += 1
        else:
            self.errors += 1
            self._is_deterministic = is_deterministic(unwrap(error))

    @property
    def should_retry(self) -> bool:
        """Whether the run is to be tried again after its newest failure."""
        return self.errors <= self.limit and not self._is_deterministic

    @property
    def delay_s(self) -> float:
        """Seconds to let pass before that: 1, 2, 4 and so on."""
        return min(2.0 ** (self.errors + self.losses - 1), MAX_DELAY_S)


def is_deterministic(error: Exception) -> bool:
    """Return whether another attempt would raise ``error`` again. Arrow's errors are ValueErrors, but of a storage."""
    return isinstance(error, NON_RETRYABLE) and not isinstance(error, pa.ArrowException)
