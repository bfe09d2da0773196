"""Base class of all runs (id, prerequisites, number of epochs) and their JSON form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from sparsweep.trainables.specs.base import HASH_CONTEXT, FrozenModel
from sparsweep.trainables.specs.parts import DatasetSpec, registry_of

if TYPE_CHECKING:
    from sparsweep.trainables.specs.trial import TrialSpec

SCHEMA_VERSION = 1
"""Part of every id. Increase it when the meaning of a field changes: old and new results then have different ids."""


def digest(kind: str, content: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of kind, content and schema version as canonical JSON.

    Args:
        kind: Name of the kind of run.
        content: JSON-compatible fields.
    """
    envelope = {"schema": SCHEMA_VERSION, "kind": kind, "spec": content}
    text = json.dumps(envelope, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunSpec(FrozenModel):
    """Specification of a run: a frozen value. Its id is a hash of its fields.

    Settings that do not change the result (workers, devices, storage, progress) are not fields. Default values are part
    of the hash, so a later change of a default does not change the id of an old run.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        RUN_KINDS[cls.__name__] = cls

    @cached_property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON, the kind and the schema version."""
        return digest(type(self).__name__, self.hashed_fields())

    def hashed_fields(self) -> dict[str, Any]:
        """Return the fields that identify this run: all fields that change its result."""
        return self.model_dump(mode="json", context=HASH_CONTEXT)

    def prerequisites(self) -> tuple[RunSpec, ...]:
        """Return the runs that must be finished before this one can start."""
        return ()

    def merge(self, other: Self) -> Self:
        """Return a run with the outputs of this run and of ``other``. Both have the same id."""
        return self

    @property
    def dataset_spec(self) -> DatasetSpec:
        """Data set that the run loads."""
        raise NotImplementedError

    @property
    def trained_trial(self) -> TrialSpec | None:
        """Trial whose recipe the run trains. None if the run trains nothing."""
        return None

    @property
    def num_epochs(self) -> int:
        """Number of epochs to train, or number of work units if the run trains nothing."""
        raise NotImplementedError

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


RUN_KINDS: dict[str, type[RunSpec]] = {}
"""All run classes by name."""


def to_json(spec: RunSpec) -> str:
    """Return the JSON of a run. :func:`from_json` reads it."""
    return json.dumps({"kind": type(spec).__name__, "spec": spec.model_dump(mode="json")})


def from_json(text: str) -> RunSpec:
    """Return the run that :func:`to_json` wrote.

    Raises:
        KeyError: The kind of run is unknown.
        ValidationError: A field is invalid.
    """
    content = json.loads(text)
    registry_of("difficulty")  # imports the run classes that difficulties define
    return RUN_KINDS[content["kind"]].model_validate(content["spec"])
