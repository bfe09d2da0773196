"""The log of one run, kept in the storage wherever it ran: ``logs/RUN.txt``, added to by every attempt."""

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
    """Collects what a run says (its epochs, warnings, log records and errors) and writes it after every step.

    A log that cannot be written is no reason to stop training.
    """

    def __init__(self, run: str, store: Store) -> None:
        super().__init__(logging.INFO)
        self.path, self.store = f"logs/{run}.txt", store
        self.text = (store.read(self.path) or b"").decode(errors="replace")
        self._num_logged = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.write_line(f"{record.levelname.lower()}: {record.getMessage()}")

    def write_line(self, words: str) -> None:
        self.text += f"{datetime.now(UTC).isoformat(timespec='seconds')} {words}\n"

    def log_start(self, what: str, device: str, progress: Progress, epochs: Sequence[EpochMetrics]) -> None:
        """The first words of an attempt, which may have ``epochs`` behind it."""
        self._num_logged = len(epochs)
        whence = f", from its checkpoint after epoch {progress.epoch}" if progress.epoch else ""
        self.write_line(f"{what} on {socket.gethostname()}, {device}{whence}")

    def log_epochs(self, progress: Progress, epochs: Sequence[EpochMetrics]) -> None:
        """What is new among the ``epochs`` of the run."""
        for epoch in epochs[self._num_logged :]:
            measured = {name: value for name, value in vars(epoch).items() if name not in ("epoch", "seconds")}
            words = ", ".join(f"{name} {value:.4g}" for name, value in measured.items() if value is not None)
            self.write_line(f"epoch {epoch.epoch}: {words}")
        self._num_logged = len(epochs)
        if progress.is_finished:
            self.write_line("done")

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Hear log records and warnings meanwhile, keep an error's traceback, and write all of it at the end."""
        root = logging.getLogger("sparsweep.trainables")
        root.addHandler(self)
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("default")
                yield
        except BaseException:
            self.write_line(traceback.format_exc().rstrip())
            raise
        finally:
            for warning in heard:
                self.write_line(f"warning: {warning.message}")
            root.removeHandler(self)
            self._write()

    def _write(self) -> None:
        try:
            self.store.write(self.path, self.text.encode())
        except OSError as error:
            log.warning("%s could not be written: %s", self.path, error)
