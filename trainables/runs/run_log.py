"""Log of one run in the storage: ``logs/RUN.txt``, appended by every attempt on every node."""

from __future__ import annotations

import logging
import socket
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from sparsweep.trainables.runs.base import Progress
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import EpochMetrics

log = logging.getLogger(__name__)


class RunLog(logging.Handler):
    """Handler that collects a run's epochs, warnings, log records and errors, and writes them after every step.

    A log that cannot be written does not stop the training.
    """

    def __init__(self, run: str, store: Store) -> None:
        super().__init__(logging.INFO)
        self.path, self.store = f"logs/{run}.txt", store
        self.text = (store.read(self.path) or b"").decode(errors="replace")
        self._num_logged = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Append a log record."""
        self.write_line(f"{record.levelname.lower()}: {record.getMessage()}")

    def write_line(self, message: str) -> None:
        """Append one line with a time stamp."""
        self.text += f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n"

    def log_start(self, what: str, device: str, progress: Progress, epochs: Sequence[EpochMetrics]) -> None:
        """Log the start of an attempt.

        Args:
            what: Name of the run.
            device: Name of the device.
            progress: Progress of the run, after its checkpoint is restored.
            epochs: Epochs of earlier attempts.
        """
        self._num_logged = len(epochs)
        origin = f", from its checkpoint after epoch {progress.epoch}" if progress.epoch else ""
        self.write_line(f"{what} on {socket.gethostname()}, {device}{origin}")

    def log_epochs(self, progress: Progress, epochs: Sequence[EpochMetrics]) -> None:
        """Log the new epochs, and the end of the run.

        Args:
            progress: Progress of the run.
            epochs: All epochs of the run so far.
        """
        for epoch in epochs[self._num_logged :]:
            values = {name: value for name, value in vars(epoch).items() if name not in ("epoch", "seconds")}
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
            self.write_line(f"epoch {epoch.epoch}: {metrics}")
        self._num_logged = len(epochs)
        if progress.is_finished:
            self.write_line("finished")

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Collect log records, warnings and the traceback of an error in the enclosed code, then write them."""
        root = logging.getLogger("sparsweep.trainables")
        root.addHandler(self)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("default")
                yield
        except BaseException:
            self.write_line(traceback.format_exc().rstrip())
            raise
        finally:
            for warning in caught:
                self.write_line(f"warning: {warning.message}")
            root.removeHandler(self)
            self._write()

    def _write(self) -> None:
        try:
            self.store.write(self.path, self.text.encode())
        except OSError as error:
            log.warning("%s could not be written: %s", self.path, error)
