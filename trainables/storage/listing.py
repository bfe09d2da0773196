"""Contents of a storage at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StorageListing:
    """Contents of a storage at one moment. A command lists once and passes this on.

    Attributes:
        finished: Ids of finished trials.
        artifacts: Paths of all artifacts.
        failures: Newest failure of each run that has failed and is not finished: a row of ``failures``, by id.
        outcomes: Paths of all files of the tables ``outcomes``, ``shifts`` and ``ood``.
    """

    finished: frozenset[str]
    artifacts: frozenset[str]
    failures: dict[str, dict[str, Any]]
    outcomes: frozenset[str] = frozenset()
