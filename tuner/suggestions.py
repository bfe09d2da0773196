"""What a search has suggested: ``sweeps/NAME/suggestions/NUMBER.json``, written before the trial is run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.spec import TrialSpec
from trainables.store import Store


@dataclass(frozen=True)
class Suggestion:
    """The ``number``-th suggestion of a search, its trial, and the end it came to if it was not finished.

    ``ended``: ``pruned``, or ``impossible`` where there can be no such trial; then ``spec`` is None.
    """

    number: int
    spec: TrialSpec | None
    params: Mapping[str, Any]
    ended: str | None = None


def suggestions(name: str, store: Store) -> Iterator[Suggestion]:
    """What the search ``name`` has suggested in this storage, in order."""
    folder = f"sweeps/{name}/suggestions"
    for number in sorted(store.names(folder)):
        content = json.loads(store.read(f"{folder}/{number}.json") or b"{}")
        spec = None if content["spec"] is None else TrialSpec.model_validate(content["spec"])
        yield Suggestion(int(number), spec, content["params"], content["ended"])


def count(name: str, store: Store) -> int:
    """How many suggestions the search ``name`` has made here."""
    return len(store.names(f"sweeps/{name}/suggestions"))


def stopped(name: str, store: Store) -> int:
    """How many of them were stopped early, for falling behind."""
    return sum(suggestion.ended == "pruned" for suggestion in suggestions(name, store))


def keep(name: str, store: Store, suggestion: Suggestion) -> None:
    """Write one suggestion of the search ``name``, or how it ended."""
    content = {
        "spec": None if suggestion.spec is None else suggestion.spec.model_dump(mode="json"),
        "params": dict(suggestion.params),
        "ended": suggestion.ended,
    }
    store.write(f"sweeps/{name}/suggestions/{suggestion.number:06}.json", json.dumps(content).encode())
