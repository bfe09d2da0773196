"""``sweeps/NAME/`` in a storage: the sweep as it was run, its log, and what its driver last said."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from pyarrow.fs import LocalFileSystem

from trainables import plain_yaml, plugins
from trainables.reading import parse_json
from trainables.store import Store
from tuner import word
from tuner.sweep import Sweep, SweepError, parse

ALIVE = timedelta(seconds=60)
"""A driver that has said nothing for so long is taken for dead."""
LOCAL_SECONDS, BUCKET_SECONDS = 0.3, 2.0
"""Longer than another driver takes between looking for a word and leaving its own."""
DRIVER: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
"""This process."""


def remember(sweep: Sweep, store: Store) -> None:
    """Keep the sweep as it is run, so that ``resume``, ``status`` and ``figures`` mean the same trials.

    Also marks the storage, if this is the first sweep here or an earlier version ran the others.
    """
    store.mark()
    store.write(f"sweeps/{sweep.name}/plugins.json", json.dumps(plugins.named()).encode())
    store.write(f"sweeps/{sweep.name}/sweep.yaml", sweep.dump().encode())


def recorded(store: Store) -> list[str]:
    """Return the names of the sweeps that were run here, in order. Other folders in ``sweeps/`` are not ours."""
    return [name for name in sorted(store.folders("sweeps")) if store.exists(f"sweeps/{name}/sweep.yaml")]


def recall(name: str, store: Store, overrides: list[str]) -> Sweep | None:
    """A sweep as it was last run here, or None if it never was (``name`` may be a path: then it was not).

    Raises:
        SweepError: The record is damaged, or names methods of plugins that are not loaded; says which were then.
    """
    if "/" in name:
        return None
    content = store.read(f"sweeps/{name}/sweep.yaml")
    if content is None:
        return None
    try:
        return parse(content.decode(), name, overrides)
    except UnicodeDecodeError:
        raise SweepError(f"{name}: sweeps/{name}/sweep.yaml is damaged. Run the sweep from its file again.") from None
    except SweepError as error:
        missing = sorted(_plugins(name, store) - set(plugins.named()))
        if not missing:
            raise
        options = " ".join(f"--plugin {module}" for module in missing)
        raise SweepError(f"{name}: it was run with {options}. Give that here too ({error})") from None


def _plugins(name: str, store: Store) -> set[str]:
    """Return the plugins that the newest run of a sweep was given."""
    found = parse_json(store.read(f"sweeps/{name}/plugins.json"))
    return {module for module in found if isinstance(module, str)} if isinstance(found, list) else set()


def source(name: str, store: Store) -> str | None:
    """Return the file that the sweep recorded as ``name`` was named after, or None if that is not known."""
    try:
        content = plain_yaml.load((store.read(f"sweeps/{name}/sweep.yaml") or b"").decode())
    except ValueError:
        return None
    return content.get("source") if isinstance(content, dict) else None


class Busy(Exception):
    """Another driver runs the sweep in this storage."""


def claim(name: str, store: Store) -> None:
    """Say that this process drives the sweep from now on; :class:`Busy` if another one does.

    Two that begin at once both write; the one whose word is still there a moment later goes on.
    """
    refuse_if_driven(name, store)
    write_heartbeat(name, store, {})
    time.sleep(LOCAL_SECONDS if isinstance(store.filesystem, LocalFileSystem) else BUCKET_SECONDS)
    refuse_if_driven(name, store)


def refuse_if_driven(name: str, store: Store) -> None:
    """:class:`Busy` if another living process drives the sweep."""
    said = last_said(name, store)
    if said is not None and said["driver"] != DRIVER and is_alive(name, store):
        where = f"process {said['driver']['pid']} on {said['driver']['host']}"
        raise Busy(f"{name} is being run here by {where}; wait until it has ended, or stop it")


def write_heartbeat(name: str, store: Store, running: dict[str, Any], seconds_left: float | None = None) -> None:
    """Say which runs are running (by id, their ``epoch`` of ``epochs`` and what else is known), and for how long."""
    at = datetime.now(UTC).isoformat()
    content = {"at": at, "driver": DRIVER, "running": running, "seconds_left": seconds_left}
    store.write(f"sweeps/{name}/driver.json", json.dumps(content).encode())


def last_said(name: str, store: Store) -> dict[str, Any] | None:
    """The newest word of the sweep's driver, if there is any. A damaged one counts as none."""
    content = store.read(f"sweeps/{name}/driver.json")
    said = parse_json(content)
    try:
        known = datetime.fromisoformat(said["at"]).tzinfo and isinstance(said["driver"]["host"], str)
        return said if known and 0 < operator.index(said["driver"]["pid"]) < 2**31 else None
    except (ValueError, LookupError, TypeError):
        return None


def running(name: str, store: Store) -> dict[str, Any]:
    """The runs that a living driver of the sweep is running now; empty if there is none."""
    return word.running(_living(name, store).get("running"))


def seconds_left(name: str, store: Store) -> float | None:
    """What a living driver of the sweep expects; None if there is none or it does not know yet."""
    return word.seconds_left(_living(name, store).get("seconds_left"))


def _living(name: str, store: Store) -> dict[str, Any]:
    said = last_said(name, store)
    return said if said is not None and is_alive(name, store) else {}


def is_alive(name: str, store: Store) -> bool:
    """Whether a driver of the sweep has been heard of lately, and is not known to have died."""
    said = last_said(name, store)
    if said is None or datetime.now(UTC) - datetime.fromisoformat(said["at"]) >= ALIVE:
        return False
    driver = said["driver"]
    return driver["host"] != DRIVER["host"] or runs(driver["pid"])


def runs(pid: int) -> bool:
    """Whether there is a process ``pid`` on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_heartbeat(name: str, store: Store) -> None:
    """Take this driver's word back; where that cannot be, its silence says the same."""
    with contextlib.suppress(OSError):
        store.delete(f"sweeps/{name}/driver.json")


def write_log(name: str, store: Store, lines: list[str]) -> None:
    """Replace the log of the newest run of the sweep."""
    store.write(f"sweeps/{name}/log.txt", "".join(f"{line}\n" for line in lines).encode())
