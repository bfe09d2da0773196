"""Artifacts and checkpoints of a storage: weights, scores, corrupted images, and states of unfinished runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import fs

from sparsweep.trainables.storage import image_file, schemas, score_files, tensor_file
from sparsweep.trainables.storage.fetched_images import open_through_cache
from sparsweep.trainables.storage.files import FileStore
from sparsweep.trainables.storage.tensor_file import Check, accept

log = logging.getLogger(__name__)

T = TypeVar("T")

Artifact = Literal["weights", "scores", "corrupted"]
SUFFIX: dict[Artifact, str] = {"weights": ".pt", "scores": ".parquet", "corrupted": ".images"}


class ArtifactLost(FileNotFoundError):
    """Error for an artifact that is missing, or was damaged and removed. A resume of the sweep creates it again.

    Attributes:
        problem: Which artifact, and whether it was missing or damaged.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}. Resume the sweep to create them again.")
        self.problem = problem


class ArtifactStore(FileStore):
    """Artifacts and checkpoints of one storage."""

    # Artifacts -------------------------------------------------------------------------------------------------------

    def artifacts(self, kind: Artifact) -> set[str]:
        """Return the names of all artifacts of ``kind``: the run id, for scores ``RUN-SCORE``."""
        return self.list_ids(f"artifacts/{kind}")

    def artifact_paths(self) -> set[str]:
        """Return the paths of all artifacts. Sends one listing per kind."""
        return {f"artifacts/{kind}/{name}{suffix}" for kind, suffix in SUFFIX.items() for name in self.artifacts(kind)}

    def artifact_path(self, kind: Artifact, run: str) -> str:
        """Return the path of the artifact ``run`` of ``kind``."""
        return f"artifacts/{kind}/{run}{SUFFIX[kind]}"

    def write_weights(self, trial: str, state: Mapping[str, Any]) -> None:
        """Store the final weights of a trial.

        Args:
            trial: Id of the trial.
            state: ``model`` (a state_dict) and ``masks`` (by name).
        """
        self.write(self.artifact_path("weights", trial), tensor_file.dumps(dict(state), trial))

    def read_weights(self, trial: str, check: Check = accept) -> dict[str, Any]:
        """Return the stored weights of a trial.

        Args:
            trial: Id of the trial.
            check: Raises CorruptFileError if the content cannot come from this trial.

        Raises:
            ArtifactLost: The weights are missing, or they were damaged or of another run and are now removed.
        """
        return self._artifact("weights", trial, lambda content: tensor_file.loads(content, trial), check)

    def scores_path(self, run: str, score: str) -> str:
        """Return the path of one score of a scoring run."""
        return self.artifact_path("scores", f"{run}-{score}")

    def write_scores(self, run: str, score: str, labels: np.ndarray, values: np.ndarray, code: str = "") -> None:
        """Store one score of a scoring run as Parquet with the columns ``sample``, ``label`` and ``score``.

        Args:
            run: Id of the scoring run.
            score: Name of the score.
            labels: Integers (N,), in sample order.
            values: Floats (N,), in sample order.
            code: Code that computed them (see ``provenance``).
        """
        columns = {"sample": np.arange(len(labels)), "label": labels, "score": values}
        table = pa.table(columns).replace_schema_metadata({score_files.OWNER_KEY: run, score_files.CODE_KEY: code})
        self.write(self.scores_path(run, score), schemas.to_parquet(table))

    def read_scores(self, run: str, score: str, check: Check = accept) -> np.ndarray:
        """Return one score of all training samples, (N,), in sample order.

        Args:
            run: Id of the scoring run.
            score: Name of the score.
            check: Receives the table. Raises CorruptFileError if it cannot come from this run.

        Raises:
            ArtifactLost: As in :meth:`read_weights`.
        """

        def parse(content: bytes) -> pa.Table:
            table = score_files.scores_in(pa.BufferReader(content))
            tensor_file.check_owner(score_files.run_of_scores(table), run)
            return table.sort_by("sample")

        return self._artifact("scores", f"{run}-{score}", parse, check)["score"].to_numpy()

    def write_corrupted(self, run: str, images: Mapping[str, np.ndarray]) -> None:
        """Store the corrupted images of a data set.

        Args:
            run: Id of the corruption run.
            images: uint8 arrays (N, C, H, W) by split.
        """
        self.write(self.artifact_path("corrupted", run), image_file.dumps(images, run))

    def read_corrupted(self, run: str, check: Check = accept) -> dict[str, np.ndarray]:
        """Return corrupted images by split: read-only, memory-mapped, one copy in memory per node.

        A file in a bucket is first copied to the node.

        Args:
            run: Id of the corruption run.
            check: Raises CorruptFileError if the images cannot come from this run.

        Raises:
            ArtifactLost: As in :meth:`read_weights`.
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
            artifact = parse(content)
            check(artifact)
            return artifact
        except (tensor_file.CorruptFileError, pa.ArrowException, OSError) as error:
            self.delete(path)
            raise ArtifactLost(f"the {kind} of {run} are damaged ({error}) and were removed") from error

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def write_checkpoint(self, run: str, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of an unfinished run.

        Args:
            run: Id of the run.
            state: Tensors and plain Python values.
        """
        self.write(f"checkpoints/{run}.pt", tensor_file.dumps(dict(state), run))

    def read_checkpoint(self, run: str, check: Check = accept) -> dict[str, Any] | None:
        """Return the newest checkpoint, or None. Log and remove a checkpoint that is damaged or of another run.

        Args:
            run: Id of the run.
            check: Raises CorruptFileError if the content cannot come from this run.
        """
        content = self.read(f"checkpoints/{run}.pt")
        if content is None:
            return None
        try:
            state = tensor_file.loads(content, run)
            check(state)
            return state
        except tensor_file.CorruptFileError as error:
            log.warning("checkpoint of %s is damaged (%s) and was removed. The run starts again.", run, error)
            self.delete_checkpoint(run)
            return None

    def delete_checkpoint(self, run: str) -> None:
        """Delete the checkpoint of a run if it exists."""
        self.delete(f"checkpoints/{run}.pt")

    def checkpoints(self) -> set[str]:
        """Return the ids of the runs with a checkpoint: started and not finished."""
        return self.list_ids("checkpoints")
