"""Results, artifacts and checkpoints of a storage. A trial is finished if and only if its result is stored.

Paths: ``results/TABLE/TRIAL.parquet`` (see ``tables``; outcomes: ``TRIAL-SPLIT``), ``artifacts/weights/TRIAL.pt``,
``artifacts/scores/RUN-SCORE.parquet``, ``artifacts/corrupted/RUN.images``, ``checkpoints/RUN.pt``, ``sweeps/NAME/``.
Every write is atomic. Two writers of the same file write the same content.
"""

from __future__ import annotations

import logging
import re
import socket
import traceback as tracebacks
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from sparsweep.trainables.storage import schemas, tables
from sparsweep.trainables.storage.artifacts import ArtifactStore
from sparsweep.trainables.storage.listing import StorageListing

log = logging.getLogger(__name__)

T = TypeVar("T")

ID_DIGITS = 16


class Store(ArtifactStore):
    """Results, artifacts and checkpoints of one storage."""

    # Results ---------------------------------------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Return the ids of the trials with a row in ``trials``. An empty or truncated file does not count."""
        selector = fs.FileSelector(f"{self.root}/results/trials", allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        named = [info for info in infos if re.fullmatch(r"[0-9a-f]{16}\.parquet", info.base_name)]
        return {info.base_name.removesuffix(".parquet") for info in named if tables.is_whole(self.filesystem, info)}

    def is_finished(self, trial: str) -> bool:
        """Return whether ``trial`` has a row in ``trials``, as in :meth:`finished`."""
        info = self.filesystem.get_file_info(f"{self.root}/{self.result_path('trials', trial)}")
        return tables.is_whole(self.filesystem, info)

    def result_path(self, table: str, trial: str) -> str:
        """Return the path of the rows of ``trial`` in ``table``."""
        return f"results/{table}/{trial}.parquet"

    def write_result(self, trial: str, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Write the rows of a finished trial. The row in ``trials`` is written last: it marks the trial as finished.

        A finished trial is never written again. Another sweep can have trained the same trial in the meantime, or this
        sweep can have repeated it to restore its weights.

        Args:
            trial: Id of the trial.
            tables: Rows by table.
        """
        if self.is_finished(trial):
            return
        for table in sorted(tables, key=lambda name: name == "trials"):
            self._write_table(self.result_path(table, trial), schemas.build_table(table, tables[table]))

    def outcomes_path(self, trial: str, split: str) -> str:
        """Return the path of the outcomes of ``trial`` on ``split``."""
        return f"results/outcomes/{trial}-{split}.parquet"

    def write_outcomes(self, trial: str, split: str, outcomes: pa.Table) -> None:
        """Write the outcomes of a trial on one split.

        Args:
            trial: Id of the trial.
            split: Name of the split.
            outcomes: Rows of the table ``outcomes``.
        """
        self.write(self.outcomes_path(trial, split), schemas.outcomes_to_parquet(outcomes))

    def write_rows(self, table: str, path: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows of a trial in the table ``shifts`` or ``ood``.

        Args:
            table: Name of the table.
            path: Path of the file.
            rows: Values by column name.
        """
        self._write_table(path, schemas.build_table(table, rows))

    def write_membership(self, sweep: str, trials: Iterable[str]) -> None:
        """Replace the list of trials of a sweep, if it differs.

        Args:
            sweep: Name of the sweep.
            trials: Ids of its trials.
        """
        path = self.result_path("memberships", sweep)
        members = schemas.build_table("memberships", [{"sweep": sweep, "trial": trial} for trial in trials])
        if self.read(path) != (content := schemas.to_parquet(members)):
            self.write(path, content)

    def write_failure(self, trial: str, sweep: str, error: BaseException) -> None:
        """Add a row to ``failures``. Never raises: a second error must not hide the first one.

        Args:
            trial: Id of the run that failed.
            sweep: Name of the sweep that ran it.
            error: The error, with its traceback.
        """
        try:
            attempt = 1 + sum(name.startswith(trial) for name in self.list_ids("results/failures"))
            row = {
                "trial": trial,
                "sweep": sweep,
                "error": type(error).__name__,
                "message": str(error),
                "traceback": "".join(tracebacks.format_exception(error)),
                "attempt": attempt,
                "node": socket.gethostname(),
                "at": datetime.now(UTC),
            }
            path = f"results/failures/{trial}-{attempt}.parquet"
            self._write_table(path, schemas.build_table("failures", [row]))
        except Exception:
            log.exception("could not record the failure of %s", trial)

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return the newest failure of each run that has failed and is not finished, by id."""
        return self.listing().failures

    def listing(self) -> StorageListing:
        """List finished trials, artifacts and failures, each once."""
        finished, artifacts = self.finished(), self.artifact_paths()
        created = {Path(path).name[:ID_DIGITS] for path in artifacts if not path.startswith("artifacts/weights/")}
        newest = tables.newest_failures(self.storage)
        failures = {run: row for run, row in newest.items() if run not in finished | created}
        tables_of_evaluations = ("outcomes", "shifts", "ood")
        outcomes = frozenset(
            self.result_path(table, name)
            for table in tables_of_evaluations
            for name in self.list_ids(f"results/{table}")
        )
        return StorageListing(frozenset(finished), frozenset(artifacts), failures, outcomes)

    def _write_table(self, path: str, table: pa.Table) -> None:
        self.write(path, schemas.to_parquet(table))
