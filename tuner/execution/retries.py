"""Retry policy of failed runs.

- An error of the run itself (an exception, or a dead worker on a live node) is retried ``retries`` times.
- A lost node (preempted, crashed, disconnected) is retried without limit.
- The delay before each retry doubles.
"""

from __future__ import annotations

import pyarrow as pa

from sparsweep.trainables.storage.artifacts import ArtifactLost
from sparsweep.tuner.ray_errors import is_lost_node, unwrap

NON_RETRYABLE = (
    ArtifactLost,  # only a rerun of its prerequisite recreates the artifact
    ArithmeticError,  # includes a NaN loss
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
"""Deterministic errors: not retried until ``sparsweep resume``.

RuntimeError and OSError are not included, because a GPU or a disk may raise them temporarily.
"""
MAX_DELAY_S = 60.0


class TrialTimeout(Exception):
    """Raised when a run was killed because no epoch ended within ``trial_timeout``."""


class RetryPolicy:
    """Failures of one run under one driver.

    Attributes:
        limit: Maximum number of the run's own errors that are retried.
        errors: Number of the run's own errors.
        losses: Number of lost nodes.
    """

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
        """Whether to retry the run after its newest failure."""
        return self.errors <= self.limit and not self._is_deterministic

    @property
    def delay_s(self) -> float:
        """Delay in seconds before the next retry: 1, 2, 4, ..., at most 60."""
        return min(2.0 ** (self.errors + self.losses - 1), MAX_DELAY_S)


def is_deterministic(error: Exception) -> bool:
    """Return whether a retry would raise ``error`` again.

    Arrow's errors are excluded: they are ValueErrors, but a storage may raise them temporarily.
    """
    return isinstance(error, NON_RETRYABLE) and not isinstance(error, pa.ArrowException)
