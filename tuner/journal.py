"""``sweeps/NAME/`` in a storage: the sweep as it was run, its log, and what its driver last said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from trainables.store import Store
from tuner.sweep import Sweep, parse

ALIVE = timedelta(seconds=60)
"""A driver that has said nothing for so long is taken for dead."""


def remember(sweep: Sweep, store: Store) -> None:
    """Keep the sweep as it is run, so that ``resume``, ``status`` and ``figures`` mean the same trials."""
    store.write(f"sweeps/{sweep.name}/sweep.yaml", sweep.dump().encode())


def recall(name: str, store: Store, overrides: list[str]) -> Sweep | None:
    """A sweep as it was last run here, or None if it never was (``name`` may be a path: then it was not)."""
    if "/" in name:
        return None
    content = store.read(f"sweeps/{name}/sweep.yaml")
    return None if content is None else parse(content.decode(), name, overrides)


def write_heartbeat(name: str, store: Store, running: dict[str, Any]) -> None:
    """Say which runs are running: by id, their ``epoch`` of ``epochs``."""
    content = {"at": datetime.now(UTC).isoformat(), "running": running}
    store.write(f"sweeps/{name}/driver.json", json.dumps(content).encode())


def running(name: str, store: Store) -> dict[str, Any]:
    """The runs that a living driver of the sweep is running now; empty if there is none."""
    content = store.read(f"sweeps/{name}/driver.json") if is_alive(name, store) else None
    return json.loads(content)["running"] if content else {}


def is_alive(name: str, store: Store) -> bool:
    """Whether a driver of the sweep has been heard of lately."""
    content = store.read(f"sweeps/{name}/driver.json")
    if content is None:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(json.loads(content)["at"]) < ALIVE


def end_heartbeat(name: str, store: Store) -> None:
    store.delete(f"sweeps/{name}/driver.json")


def write_log(name: str, store: Store, lines: list[str]) -> None:
    """Replace the log of the newest run of the sweep."""
    store.write(f"sweeps/{name}/log.txt", "".join(f"{line}\n" for line in lines).encode())
