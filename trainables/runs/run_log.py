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
from sparsweep.trainables.training.trainer import Epoch

log = logging.getLogger(__name__)


class RunLog(logging.Handler):
    """Collects what a run says (its epochs, warnings, log records and errors) and writes it after every step.

    A log that cannot be written is no reason to stop training.
    """

    def __init__(self, run: str, store: Store) -> None:
        super().__init__(logging.INFO)
        self.path, self.store = f"logs/{run}.txt", store
        self.text = (store.read(self.path) or b"").decode(errors="replace")
        self._told = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.say(f"{record.levelname.lower()}: {record.getMessage()}")

    def say(self, words: str) -> None:
        self.text += f"{datetime.now(UTC).isoformat(timespec='seconds')} {words}\n"

    def begin(self, what: str, device: str, progress: Progress, epochs: Sequence[Epoch]) -> None:
        """The first words of an attempt, which may have ``epochs`` behind it."""
        self._told = len(epochs)
        whence = f", from its checkpoint after epoch {progress.epoch}" if progress.epoch else ""
        self.say(f"{what} on {socket.gethostname()}, {device}{whence}")

    def follow(self, progress: Progress, epochs: Sequence[Epoch]) -> None:
        """What is new among the ``epochs`` of the run."""
        for epoch in epochs[self._told :]:
            measured = {name: value for name, value in vars(epoch).items() if name not in ("epoch", "seconds")}
            words = ", ".join(f"{name} {value:.4g}" for name, value in measured.items() if value is not None)
            self.say(f"epoch {epoch.epoch}: {words}")
        self._told = len(epochs)
        if progress.done:
            self.say("done")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear log records and warnings meanwhile, keep an error's traceback, and write all of it at the end."""
        root = logging.getLogger("sparsweep.trainables")
        root.addHandler(self)
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("default")
                yield
        except BaseException:
            self.say(traceback.format_exc().rstrip())
            raise
        finally:
            for warning in heard:
                self.say(f"warning: {warning.message}")
            root.removeHandler(self)
            self._write()

    def _write(self) -> None:
        try:
            self.store.write(self.path, self.text.encode())
        except OSError as error:
            log.warning("%s could not be written: %s", self.path, error)
