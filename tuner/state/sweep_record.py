"""Record of a sweep in a storage (``sweeps/NAME/``): the sweep of its last run and its newest log."""

from __future__ import annotations

import json
import re

from sparsweep.trainables import plugins
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tables import parse_json
from sparsweep.tuner.config.sweep import SWEEP_NAME, Sweep, SweepError, parse_sweep


def save_sweep(sweep: Sweep, store: Store) -> None:
    """Record a sweep with its overrides, so that ``resume``, ``status`` and ``figures`` use the same trials.

    Also writes the storage marker if it is missing (first sweep, or a storage of an earlier version).
    """
    store.mark()
    store.write(f"sweeps/{sweep.name}/plugins.json", json.dumps(plugins.requested_modules()).encode())
    store.write(f"sweeps/{sweep.name}/sweep.yaml", sweep.dump().encode())


def list_sweeps(store: Store) -> list[str]:
    """Return the sorted names of all recorded sweeps. Ignore other folders in ``sweeps/``."""
    return [name for name in sorted(store.list_subfolders("sweeps")) if store.exists(f"sweeps/{name}/sweep.yaml")]


def load_sweep(name: str, store: Store, overrides: list[str]) -> Sweep | None:
    """Load a sweep as recorded by its last run.

    Args:
        name: Name of the sweep. A path has no record.
        store: The storage.
        overrides: Further ``path=value`` strings.

    Returns:
        The sweep, or None without a record.

    Raises:
        SweepError: The record is damaged, or its plug-ins are not loaded. The message names them.
    """
    if not re.fullmatch(SWEEP_NAME, name):
        return None
    content = store.read(f"sweeps/{name}/sweep.yaml")
    if content is None:
        return None
    try:
        return parse_sweep(content.decode(), name, overrides)
    except UnicodeDecodeError:
        raise SweepError(f"{name}: sweeps/{name}/sweep.yaml is damaged. Run the sweep from its file again.") from None
    except SweepError as error:
        missing = sorted(_plugins(name, store) - set(plugins.requested_modules()))
        if not missing:
            raise
        options = " ".join(f"--plugin {module}" for module in missing)
        raise SweepError(f"{name}: missing plug-ins of the last run. Add {options} ({error})") from None


def _plugins(name: str, store: Store) -> set[str]:
    """Return the plug-in modules of the last run of a sweep."""
    modules = parse_json(store.read(f"sweeps/{name}/plugins.json"))
    return {module for module in modules if isinstance(module, str)} if isinstance(modules, list) else set()


def source(name: str, store: Store) -> str | None:
    """Return the source file of the sweep recorded as ``name``, or None if unknown."""
    try:
        content = plain_yaml.load((store.read(f"sweeps/{name}/sweep.yaml") or b"").decode())
    except ValueError:
        return None
    return content.get("source") if isinstance(content, dict) else None


def write_log(name: str, store: Store, lines: list[str]) -> None:
    """Replace the log of the last run of a sweep."""
    store.write(f"sweeps/{name}/log.txt", "".join(f"{line}\n" for line in lines).encode())
