"""Functions that open the storage and the sweep of a command.

Modules are imported inside functions, because ``--help`` must start fast.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparsweep.tuner.errors import UsageError, short_message, storage_option

if TYPE_CHECKING:
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep


def refuse_lost_folder() -> None:
    """Raise UsageError if the current folder was deleted, because relative paths cannot be resolved there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the current folder was deleted ({error.strerror}). Change the folder: cd") from None


def load_plugins(modules: list[str]) -> list[str]:
    """Import plug-in modules, whose methods sweeps can then name. Return ``modules`` as the option's value."""
    from sparsweep.trainables.plugins import PluginError, load_plugins

    try:
        load_plugins(modules)
    except PluginError as error:
        raise UsageError(f"--plugin {error}") from None
    return modules


def open_store(storage: str) -> Store:
    """Open a storage.

    Args:
        storage: A folder, or an s3:// or gs:// address.

    Raises:
        UsageError: The address is invalid or unreachable, or the path is a file.
    """
    from sparsweep.trainables.storage.store import Store

    try:
        store = Store(storage)
        store.check_folder()
        store.check_reachable()
    except (ValueError, NotADirectoryError) as error:  # includes Arrow's errors
        raise UsageError(f"--storage {shlex.quote(storage)}: {error}") from None
    except OSError as error:
        remedy = "Check the address, the network and the credentials."
        raise UsageError(f"--storage {shlex.quote(storage)}: unreachable: {short_message(error)}. {remedy}") from None
    return store


def open_marked_store(storage: str) -> Store:
    """Open a storage for a command that removes or rewrites files.

    Raises:
        UsageError: The folder has no storage marker file.
    """
    from sparsweep.trainables.storage import mark
    from sparsweep.tuner.state import sweep_record

    store = open_store(storage)
    if not store.is_marked():
        sweeps = sweep_record.list_sweeps(store)
        remedy = f"sparsweep resume {sweeps[0]}" if sweeps else "sparsweep run SWEEP"
        raise UsageError(
            f"--storage {storage}: not a sparsweep storage (no file {mark.NAME}). "
            f"Create the file first: {remedy}{storage_option(storage)}"
        )
    return store


def open_sweep(name: str, overrides: list[str], storage: str) -> tuple[Sweep, Store]:
    """Open a sweep as its file defines it, and its storage.

    Args:
        name: A built-in sweep, or the path of a YAML file.
        overrides: ``path=value`` strings.
        storage: A folder or address.

    Raises:
        UsageError: The sweep has an error or an invalid trial. Nothing is written.
    """
    store = open_store(storage)
    with errors_in_sweeps():
        return _read_sweep(name, overrides, store), store


def open_sweep_as_run(name: str, overrides: list[str], storage: str) -> tuple[Sweep, Store]:
    """Open a sweep as its last run here recorded it, overrides included; without a record, as its file defines it.

    Args:
        name: A built-in sweep, the path of a YAML file, or the name of a sweep in the storage.
        overrides: Further ``path=value`` strings.
        storage: A folder or address.

    Raises:
        UsageError: The sweep has an error or an invalid trial.
    """
    from sparsweep.tuner.state.sweep_record import load_sweep

    store = open_store(storage)
    with errors_in_sweeps():
        recorded = load_sweep(name, store, overrides)
        if recorded is None:
            from_file = _read_sweep(name, overrides, store)
            # The record has the name inside the file, which may differ from the name of the file.
            recorded = load_sweep(from_file.name, store, overrides) or from_file
    return recorded, store


def _read_sweep(name: str, overrides: list[str], store: Store) -> Sweep:
    from sparsweep.tuner.config.sweep import read_sweep

    sweep = read_sweep(name, overrides)
    refuse_namesake(sweep, store)
    return sweep


@contextmanager
def errors_in_sweeps() -> Iterator[None]:
    """Convert a SweepError into a UsageError."""
    from sparsweep.tuner.config.grid import SweepError

    try:
        yield
    except SweepError as error:
        raise UsageError(str(error)) from None


def open_recorded_sweep(name: str, overrides: list[str], storage: str) -> tuple[Sweep, Store]:
    """Open a sweep as recorded by its last run here.

    Args:
        name: The sweep.
        overrides: ``path=value`` strings.
        storage: A folder or address.

    Raises:
        UsageError: The sweep never ran in this storage.
    """
    described, store = open_sweep_as_run(name, overrides, storage)
    if described.name not in store.list_subfolders("sweeps"):
        start = f"sparsweep run {shlex.quote(name)}{storage_option(storage)}"
        raise UsageError(f"SWEEP {name}: never run in {storage}. Start it: {start}")
    return described, store


def open_readable_sweeps(names: Iterable[str], storage: str) -> tuple[list[Sweep], list[str]]:
    """Return the readable sweeps among ``names`` in ``storage``, and one error line per unreadable sweep."""
    sweeps, problems = [], []
    for name in names:
        try:
            sweeps.append(open_sweep_as_run(name, [], storage)[0])
        except UsageError as error:
            problems.append(str(error))
    return sweeps, problems


def refuse_namesake(sweep: Sweep, store: Store) -> None:
    """Raise UsageError if the storage has a different sweep of the same name from another file.

    An edited, moved or copied file is the same sweep if its path is equal or one set of trials contains the other.
    """
    from sparsweep.tuner.state import sweep_record

    other = sweep_record.source(sweep.name, store)
    if sweep.source is None or other in (None, sweep.source):
        return
    earlier = sweep_record.load_sweep(sweep.name, store, [])
    assert earlier is not None
    old, new = earlier.trials.keys(), sweep.trials.keys()
    if earlier.search == sweep.search and (old <= new or new <= old):
        return
    raise UsageError(
        f"SWEEP {sweep.name}: another sweep of this name ran here (from {other}, got {sweep.source}). "
        f"Rename one: --set name={sweep.name}-2, or name: in the file. Writing name: {sweep.name} in the file "
        "continues the other sweep."
    )


def open_sweeps(names: list[str], overrides: list[str], storage: str) -> tuple[list[Sweep], Store]:
    """Return the sweeps, each as recorded by its last run here, and their storage."""
    opened = [open_sweep_as_run(name, overrides, storage) for name in names]
    return [sweep for sweep, _ in opened], opened[0][1]


def resolve_id_prefix(beginning: str, known: Iterable[str], what: str, storage: str) -> str:
    """Return the unique id in ``known`` that starts with ``beginning``.

    Args:
        beginning: Prefix of an id.
        known: Candidate ids.
        what: Noun for the candidates in the error message.
        storage: The storage, for the error message.

    Raises:
        UsageError: No id or several ids match.
    """
    matches = sorted(run for run in known if run.startswith(beginning))
    if len(matches) != 1:
        several = f"{len(matches)} {what}s match: {', '.join(matches[:5])}" if matches else f"no {what} matches"
        raise UsageError(f"TRIAL {beginning!r}: {several} in {storage}")
    return matches[0]
