"""What all runs share: an id, prerequisites, a length; and their JSON form."""

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
"""Part of every id. Raised when the meaning of a field changes, so that old results are not taken for new ones."""


def digest(kind: str, content: Mapping[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of ``content`` as canonical JSON with its kind and the schema version."""
    whole = {"schema": SCHEMA_VERSION, "kind": kind, "spec": content}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunSpec(FrozenModel):
    """A run: a frozen value with an id that follows from all its fields.

    Whatever does not change the result (workers, devices, storage, progress) is not a field. Defaults are part of the
    id, so a later change of a default never renames an old run.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        RUN_KINDS[cls.__name__] = cls

    @cached_property
    def id(self) -> str:
        """16 hex digits: SHA-256 of the canonical JSON, the kind and the schema version."""
        return digest(type(self).__name__, self.hashed_fields())

    def hashed_fields(self) -> dict[str, Any]:
        """Return the fields that tell this run from others: all but those that only say what to keep of it."""
        return self.model_dump(mode="json", context=HASH_CONTEXT)

    def prerequisites(self) -> tuple[RunSpec, ...]:
        """Return the runs that must be finished before this one can start."""
        return ()

    def merge(self, other: Self) -> Self:
        """Return one run with the outputs of this one and of ``other``, which has the same id."""
        return self

    @property
    def dataset_spec(self) -> DatasetSpec:
        """The data set that it needs."""
        raise NotImplementedError

    @property
    def trained_trial(self) -> TrialSpec | None:
        """The trial whose recipe trains its network; None if it trains nothing."""
        return None

    @property
    def num_epochs(self) -> int:
        """Number of epochs to train, or of parts of the work."""
        raise NotImplementedError

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


RUN_KINDS: dict[str, type[RunSpec]] = {}
"""Every kind of run by its name."""


def to_json(spec: RunSpec) -> str:
    """Return JSON from which :func:`load` makes the same run."""
    return json.dumps({"kind": type(spec).__name__, "spec": spec.model_dump(mode="json")})


def from_json(text: str) -> RunSpec:
    """Return the run that :func:`to_json` wrote.

    Raises:
        KeyError: Its kind is unknown.
        ValidationError: A field is.
    """
    content = json.loads(text)
    registry_of("difficulty")  # runs that a difficulty needs are defined beside it
    return RUN_KINDS[content["kind"]].model_validate(content["spec"])
