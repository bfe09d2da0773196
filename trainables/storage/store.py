"""Where results, artifacts and checkpoints lie: the one truth about what is done. Local folder or ``s3://``, ``gs://``.

``results/TABLE/TRIAL.parquet`` (see ``records``), ``artifacts/weights/TRIAL.pt``,
``artifacts/scores/RUN-SCORE.parquet``, ``artifacts/corrupted/RUN.images``, ``checkpoints/RUN.pt``, ``sweeps/NAME/``.
Every write goes to a new name and is renamed; where the storage has no rename (an object store), one PUT is as atomic.
Two writers of the same file write the same content.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import traceback as tracebacks
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import fs

from sparsweep.trainables.storage import addresses, image_file, mark, schemas, tables, tensor_file
from sparsweep.trainables.storage.fetched_images import open_through_cache
from sparsweep.trainables.storage.filesystem import atomic_write
from sparsweep.trainables.storage.tensor_file import Check, accept

log = logging.getLogger(__name__)

T = TypeVar("T")

Artifact = Literal["weights", "scores", "corrupted"]
SUFFIX: dict[Artifact, str] = {"weights": ".pt", "scores": ".parquet", "corrupted": ".images"}


class ArtifactLost(FileNotFoundError):
    """An artifact is missing, or was damaged and removed. A run that needs it makes it again.

    Attributes:
        problem: Which artifact, and whether it was missing or damaged.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; a resume makes them again")
        self.problem = problem


class Store:
    """One storage. Cheap to make; holds no open files, so it can be sent to a worker."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.filesystem, self.root = addresses.resolve_storage(storage)

    def __getstate__(self) -> dict[str, str]:
        # An absolute address: a worker's working folder is not the driver's.
        return {"storage": self.storage if "://" in self.storage else self.root}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["storage"])  # type: ignore[misc]

    def uri(self, path: str) -> str:
        """``path`` in the storage, as a person finds it: an absolute path or a URI."""
        scheme, there, rest = self.storage.partition("://")
        _, question, settings = rest.partition("?")
        return f"{scheme}://{self.root}/{path}{question}{settings}" if there else f"{self.root}/{path}"

    # Files -----------------------------------------------------------------------------------------------------------

    def write(self, path: str, content: bytes) -> None:
        """Write ``content`` under ``path`` (relative to the root), whole or not at all."""
        target = f"{self.root}/{path}"
        if isinstance(self.filesystem, fs.LocalFileSystem):
            atomic_write(target, content)
            return
        with self.filesystem.open_output_stream(target) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes | None:
        """Content of ``path``, or None if there is no such file."""
        try:
            with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        return self.filesystem.get_file_info(f"{self.root}/{path}").type is fs.FileType.File

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.root}/{path}")

    def list_ids(self, folder: str) -> set[str]:
        """Names without suffix of the whole files in ``folder``."""
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        files = [info for info in infos if info.is_file and not info.base_name.startswith(("_", "."))]
        return {os.path.splitext(info.base_name)[0] for info in files}

    def list_sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of every file in ``folder`` by path, files being written included.

        What a symbolic link leads to lies outside the storage and is left out, be it a file or ``folder`` itself.
        """
        if self._is_behind_link(folder):
            return {}
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        infos = {f"{folder}/{info.base_name}": info for info in self.filesystem.get_file_info(selector)}
        return {path: info.size for path, info in infos.items() if info.is_file and not self._is_link(path)}

    def _is_behind_link(self, folder: str) -> bool:
        """Return whether ``folder``, or a folder between it and the root, is a symbolic link."""
        return any(self._is_link(str(part)) for part in (PurePosixPath(folder), *PurePosixPath(folder).parents[:-1]))

    def _is_link(self, path: str) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem) and os.path.islink(f"{self.root}/{path}")

    def list_subfolders(self, folder: str) -> set[str]:
        """Names of the folders in ``folder`` that hold a file; asked of the files: Google's buckets list no folders."""
        selector = fs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        inside = f"{self.root}/{folder}/"
        paths = [info.path.removeprefix(inside) for info in self.filesystem.get_file_info(selector) if info.is_file]
        return {path.partition("/")[0] for path in paths if "/" in path}

    def check_folder(self) -> None:
        """Raise NotADirectoryError if something else than a folder lies at the root. None at all is fine."""
        if isinstance(self.filesystem, fs.LocalFileSystem) and os.path.exists(self.root) != os.path.isdir(self.root):
            raise NotADirectoryError("not a folder. Name a folder, or an s3:// or gs:// address.")

    def check_reachable(self) -> None:
        """Raise OSError within seconds if a bucket cannot be reached or may not be listed. One request."""
        if not isinstance(self.filesystem, fs.LocalFileSystem):
            filesystem, root = addresses.resolve_storage(addresses.with_short_retries(self.storage))
            filesystem.get_file_info(root)

    def check_writable(self) -> None:
        """OSError with the reason if nothing can be written here."""
        probe = f"_probe.{uuid.uuid4().hex}"
        self.write(probe, b"")
        self.delete(probe)

    def is_marked(self) -> bool:
        """Return whether a sweep has marked this folder as a storage."""
        return mark.is_marked(self.storage)

    def mark(self) -> None:
        """Write the mark of a storage, unless it is there."""
        if not self.is_marked():
            self.write(mark.NAME, mark.CONTENT)

    # Results ---------------------------------------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Ids of the trials that have a row in ``trials``. An empty file, or one cut short, counts as missing."""
        selector = fs.FileSelector(f"{self.root}/results/trials", allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        named = [info for info in infos if re.fullmatch(r"[0-9a-f]{16}\.parquet", info.base_name)]
        return {info.base_name.removesuffix(".parquet") for info in named if tables.is_whole(self.filesystem, info)}

    def is_finished(self, trial: str) -> bool:
        """Return whether :meth:`finished` would name ``trial``."""
        info = self.filesystem.get_file_info(f"{self.root}/{self.result_path('trials', trial)}")
        return tables.is_whole(self.filesystem, info)

    def result_path(self, table: str, trial: str) -> str:
        return f"results/{table}/{trial}.parquet"

    def write_result(self, trial: str, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Write the rows of a finished trial. Its row in ``trials`` comes last: it is the mark that all is there.

        What is marked so is never written again: another sweep may have trained the same trial meanwhile, or this one
        was run a second time for its weights, which had gone.
        """
        if self.is_finished(trial):
            return
        for table in sorted(tables, key=lambda name: name == "trials"):
            self._write_table(self.result_path(table, trial), schemas.build_table(table, tables[table]))

    def write_membership(self, sweep: str, trials: Iterable[str]) -> None:
        """Write which trials belong to ``sweep``, in the place of what was written of it before, if it differs."""
        path = self.result_path("memberships", sweep)
        members = schemas.build_table("memberships", [{"sweep": sweep, "trial": trial} for trial in trials])
        if self.read(path) != (content := schemas.to_parquet(members)):
            self.write(path, content)

    def write_failure(self, trial: str, sweep: str, error: BaseException) -> None:
        """Add a row to ``failures``. Never raises: what failed must not be hidden by a second failure."""
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
        """The newest failure of every trial that failed and has not finished since."""
        made = self.artifacts("scores") | self.artifacts("corrupted")
        finished = self.finished() | {name.partition("-")[0] for name in made}
        newest = tables.newest_failures(self.storage)
        return {trial: row for trial, row in newest.items() if trial not in finished}

    def _write_table(self, path: str, table: pa.Table) -> None:
        self.write(path, schemas.to_parquet(table))

    # Artifacts -------------------------------------------------------------------------------------------------------

    def artifacts(self, kind: Artifact) -> set[str]:
        """Names of the artifacts of ``kind``: the id of the run, for scores with that of the score behind."""
        return self.list_ids(f"artifacts/{kind}")

    def artifact_paths(self) -> set[str]:
        """Paths of all artifacts, one listing a kind."""
        return {f"artifacts/{kind}/{name}{suffix}" for kind, suffix in SUFFIX.items() for name in self.artifacts(kind)}

    def artifact_path(self, kind: Artifact, run: str) -> str:
        return f"artifacts/{kind}/{run}{SUFFIX[kind]}"

    def write_weights(self, trial: str, state: Mapping[str, Any]) -> None:
        """Keep the final weights of a trial (``model``: state_dict, ``masks``: by name)."""
        self.write(self.artifact_path("weights", trial), tensor_file.dumps(dict(state), trial))

    def read_weights(self, trial: str, check: Check = accept) -> dict[str, Any]:
        """The weights of ``trial``, if ``check``, which raises Damaged, lets them pass.

        Raises:
            ArtifactLost: There are none, or they are damaged or of another run and were removed, to be made again.
        """
        return self._artifact("weights", trial, lambda content: tensor_file.loads(content, trial), check)

    def scores_path(self, run: str, score: str) -> str:
        return self.artifact_path("scores", f"{run}-{score}")

    def write_scores(self, run: str, score: str, labels: np.ndarray, values: np.ndarray, code: str = "") -> None:
        """Keep one score of a scoring run: Parquet with ``sample``, ``label`` and ``score``, samples in order."""
        columns = {"sample": np.arange(len(labels)), "label": labels, "score": values}
        table = pa.table(columns).replace_schema_metadata({tables.OWNER_KEY: run, tables.CODE_KEY: code})
        self._write_table(self.scores_path(run, score), table)

    def read_scores(self, run: str, score: str, check: Check = accept) -> np.ndarray:
        """The scores of all training samples, in order; ``check`` gets the table. Errors: see :meth:`read_weights`."""

        def parse(content: bytes) -> pa.Table:
            table = tables.scores_in(pa.BufferReader(content))
            tensor_file.check_owner(tables.run_of_scores(table), run)
            return table.sort_by("sample")

        return self._artifact("scores", f"{run}-{score}", parse, check)["score"].to_numpy()

    def write_corrupted(self, run: str, images: Mapping[str, np.ndarray]) -> None:
        """Keep a data set's corrupted images: uint8 arrays by split."""
        self.write(self.artifact_path("corrupted", run), image_file.dumps(images, run))

    def read_corrupted(self, run: str, check: Check = accept) -> dict[str, np.ndarray]:
        """Corrupted images by split, read-only and in memory once a machine; errors as in :meth:`read_weights`.

        From an object store the file is fetched to this machine first.
        """
        path = self.artifact_path("corrupted", run)
        try:
            if isinstance(self.filesystem, fs.LocalFileSystem):
                images = image_file.open_mapped(Path(self.root) / path, run)
            else:
                images = open_through_cache(self.filesystem, f"{self.root}/{path}", run)
            check(images)
            return images
        except FileNotFoundError:
            raise ArtifactLost(f"the images of {run} are not in {self.storage}") from None
        except tensor_file.CorruptFileError as error:
            self.delete(path)
            raise ArtifactLost(f"the images of {run} are damaged ({error}) and were removed") from error

    def _artifact(self, kind: Artifact, run: str, parse: Callable[[bytes], T], check: Check) -> T:
        path = self.artifact_path(kind, run)
        content = self.read(path)
        if content is None:
            raise ArtifactLost(f"the {kind} of {run} are not in {self.storage}")
        try:
            found = parse(content)
            check(found)
            return found
        except (tensor_file.CorruptFileError, pa.ArrowException, OSError) as error:
            self.delete(path)
            raise ArtifactLost(f"the {kind} of {run} are damaged ({error}) and were removed") from error

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def write_checkpoint(self, run: str, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of a run that is not done."""
        self.write(f"checkpoints/{run}.pt", tensor_file.dumps(dict(state), run))

    def read_checkpoint(self, run: str, check: Check = accept) -> dict[str, Any] | None:
        """The newest checkpoint, or None; one that is damaged or of another run is said and dropped."""
        content = self.read(f"checkpoints/{run}.pt")
        if content is None:
            return None
        try:
            state = tensor_file.loads(content, run)
            check(state)
            return state
        except tensor_file.CorruptFileError as error:
            log.warning("checkpoint of %s is damaged (%s): starting it again", run, error)
            self.delete_checkpoint(run)
            return None

    def delete_checkpoint(self, run: str) -> None:
        self.delete(f"checkpoints/{run}.pt")

    def checkpoints(self) -> set[str]:
        """Ids of the runs that were begun and are not done."""
        return self.list_ids("checkpoints")
