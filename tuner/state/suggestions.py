"""What a search has suggested: ``sweeps/NAME/suggestions/NUMBER.json``, written before the trial is run."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """The ``number``-th suggestion of a search, its trial, and the end it came to if it was not finished.

    ``ended``: ``pruned``, or ``impossible`` where there can be no such trial; then ``spec`` is None.
    """

    number: int
    spec: TrialSpec | None
    params: Mapping[str, Any]
    ended: str | None = None


class _Content(BaseModel):
    """What a file holds."""

    spec: dict[str, Any] | None
    params: dict[str, bool | int | float | str | None]
    ended: Literal["pruned", "impossible"] | None


def suggestions(name: str, store: Store) -> Iterator[Suggestion]:
    """What the search ``name`` has suggested in this storage, in order.

    A file whose trial cannot be read, as of a method that is not known here, is named and left out.
    """
    for number, content in _contents(name, store).items():
        try:
            spec = None if content.spec is None else TrialSpec.model_validate(content.spec)
        except ValidationError as error:
            warn_once(f"{name}: suggestion {number} is left out: {format_error(error)}")
            continue
        yield Suggestion(number, spec, content.params, content.ended)


def numbers(name: str, store: Store) -> set[int]:
    """The numbers that are taken. That of a damaged file is not: a resume suggests it anew."""
    return set(_contents(name, store))


def num_suggestions(name: str, store: Store) -> int:
    """How many suggestions the search ``name`` has made here."""
    return len(numbers(name, store))


def num_early_stopped(name: str, store: Store) -> int:
    """How many of them were stopped early, for falling behind."""
    return sum(suggestion.ended == "pruned" for suggestion in suggestions(name, store))


def save(name: str, store: Store, suggestion: Suggestion) -> None:
    """Write one suggestion of the search ``name``, or how it ended."""
    content = _Content.model_construct(
        spec=None if suggestion.spec is None else suggestion.spec.model_dump(mode="json"),
        params=dict(suggestion.params),
        ended=suggestion.ended,
    )
    store.write(_path(name, suggestion.number), content.model_dump_json().encode())


def _path(name: str, number: int) -> str:
    return f"sweeps/{name}/suggestions/{number:06}.json"


def _contents(name: str, store: Store) -> dict[int, _Content]:
    """The whole files by number; damaged ones are named. Files of other names, such as copies, are not ours."""
    found = {}
    for label in sorted(store.list_ids(f"sweeps/{name}/suggestions")):
        if not re.fullmatch(r"\d{6}", label, re.ASCII):
            continue
        content = store.read(_path(name, int(label)))
        try:
            found[int(label)] = _Content.model_validate_json(content or b"")
        except ValidationError:
            warn_once(f"{name}: suggestion {label} is damaged and left out. A resume of the sweep makes it again.")
    return found


@cache
def warn_once(message: str) -> None:
    log.warning(message)
