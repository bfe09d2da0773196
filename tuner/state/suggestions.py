"""Suggestions of a search: ``sweeps/NAME/suggestions/NUMBER.json``, written before the trial runs.

Optuna's journal storage is not used: its trials are numbered by their place in the log, so one lost entry drops the
results of all later trials, without an error. It also cannot reopen a failed trial, which a resume runs again.
"""

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
    """One suggestion of a search.

    Attributes:
        number: Number of the suggestion, from 0.
        spec: The trial, None if ``ended`` is ``impossible``.
        params: Optuna's parameters.
        ended: ``pruned`` (stopped early), ``impossible`` (invalid trial), or None.
    """

    number: int
    spec: TrialSpec | None
    params: Mapping[str, Any]
    ended: str | None = None


class _Content(BaseModel):
    """Content of a suggestion file."""

    spec: dict[str, Any] | None
    params: dict[str, bool | int | float | str | None]
    ended: Literal["pruned", "impossible"] | None


def suggestions(name: str, store: Store) -> Iterator[Suggestion]:
    """Yield the suggestions of the search ``name`` in order. Log and skip files with an invalid trial.

    A trial is also invalid if its plug-in method is not loaded.
    """
    for number, content in _contents(name, store).items():
        try:
            spec = None if content.spec is None else TrialSpec.model_validate(content.spec)
        except ValidationError as error:
            warn_once(f"{name}: skipping suggestion {number}: {format_error(error)}")
            continue
        yield Suggestion(number, spec, content.params, content.ended)


def numbers(name: str, store: Store) -> set[int]:
    """Return the numbers of all readable suggestions. A resume draws damaged ones again."""
    return set(_contents(name, store))


def num_suggestions(name: str, store: Store) -> int:
    """Return the number of suggestions of the search ``name``."""
    return len(numbers(name, store))


def num_early_stopped(name: str, store: Store) -> int:
    """Return the number of suggestions that were stopped early."""
    return sum(suggestion.ended == "pruned" for suggestion in suggestions(name, store))


def save(name: str, store: Store, suggestion: Suggestion) -> None:
    """Write a suggestion of the search ``name``, or replace it to record its end."""
    content = _Content.model_construct(
        spec=None if suggestion.spec is None else suggestion.spec.model_dump(mode="json"),
        params=dict(suggestion.params),
        ended=suggestion.ended,
    )
    store.write(_path(name, suggestion.number), content.model_dump_json().encode())


def _path(name: str, number: int) -> str:
    return f"sweeps/{name}/suggestions/{number:06}.json"


def _contents(name: str, store: Store) -> dict[int, _Content]:
    """Return the content of valid files by number. Log damaged files and ignore files with other names."""
    contents = {}
    for label in sorted(store.list_ids(f"sweeps/{name}/suggestions")):
        if not re.fullmatch(r"\d{6}", label, re.ASCII):
            continue
        content = store.read(_path(name, int(label)))
        try:
            contents[int(label)] = _Content.model_validate_json(content or b"")
        except ValidationError:
            warn_once(f"{name}: skipping damaged suggestion {label}. Resume the sweep to draw it again.")
    return contents


@cache
def warn_once(message: str) -> None:
    """Log a warning, once per process for equal messages."""
    log.warning(message)
