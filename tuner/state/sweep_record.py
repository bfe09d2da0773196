"""``sweeps/NAME/`` in a storage: the sweep as it was run, and its newest log (``driver_lease``: its driver)."""

from __future__ import annotations

import json
import re

from sparsweep.trainables import plugins
from sparsweep.trainables.storage import plain_yaml
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tables import parse_json
from sparsweep.tuner.config.sweep import SWEEP_NAME, Sweep, SweepError, parse_sweep


def save_sweep(sweep: Sweep, store: Store) -> None:
    """Keep the sweep as it is run, so that ``resume``, ``status`` and ``figures`` mean the same trials.

    Also marks the storage, if this is the first sweep here or an earlier version ran the others.
    """
    store.mark()
    store.write(f"sweeps/{sweep.name}/plugins.json", json.dumps(plugins.requested_modules()).encode())
    store.write(f"sweeps/{sweep.name}/sweep.yaml", sweep.dump().encode())


def list_sweeps(store: Store) -> list[str]:
    """Return the names of the sweeps that were run here, in order. Other folders in ``sweeps/`` are not ours."""
    return [name for name in sorted(store.list_subfolders("sweeps")) if store.exists(f"sweeps/{name}/sweep.yaml")]


def load_sweep(name: str, store: Store, overrides: list[str]) -> Sweep | None:
    """A sweep as it was last run here, or None if it never was (``name`` may be a path: then it was not).

    Raises:
        SweepError: The record is damaged, or names methods of plugins that are not loaded; says which were then.
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


def write_log(name: str, store: Store, lines: list[str]) -> None:
    """Replace the log of the newest run of the sweep."""
    store.write(f"sweeps/{name}/log.txt", "".join(f"{line}\n" for line in lines).encode())
