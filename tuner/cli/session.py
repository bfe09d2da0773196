"""How a command comes to its storage and its sweep. What it needs is imported inside: ``--help`` answers at once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sparsweep.tuner.errors import UsageError, short_message, storage_option

if TYPE_CHECKING:
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep


def refuse_lost_folder() -> None:
    """Raise WrongCall if the folder in which the command was called has been removed: no path means anything there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the current folder is gone ({error.strerror}). Change to one that exists: cd") from None


def load_plugins(modules: list[str]) -> list[str]:
    """Import modules that bring methods of others, so that sweeps can name them; the same list, for the option."""
    from sparsweep.trainables.plugins import PluginError, load_plugins

    try:
        load_plugins(modules)
    except PluginError as error:
        raise UsageError(f"--plugin {error}") from None
    return modules


def open_store(storage: str) -> Store:
    """Return the storage. Raises WrongCall if it cannot be one: no such address, a file, or out of reach."""
    from sparsweep.trainables.storage.store import Store

    try:
        store = Store(storage)
        store.check_folder()
        store.check_reachable()
    except (ValueError, NotADirectoryError) as error:  # Arrow's are among them
        raise UsageError(f"--storage {shlex.quote(storage)}: {error}") from None
    except OSError as error:
        remedy = "Check the address, the network and the credentials."
        raise UsageError(
            f"--storage {shlex.quote(storage)}: cannot be reached: {short_message(error)}. {remedy}"
        ) from None
    return store


def open_marked_store(storage: str) -> Store:
    """Return the storage for a command that removes or rewrites files in it.

    Raises:
        WrongCall: The folder does not carry the mark of a storage.
    """
    from sparsweep.trainables.storage import mark
    from sparsweep.tuner.state import sweep_record

    store = open_store(storage)
    if not store.is_marked():
        sweeps = sweep_record.list_sweeps(store)
        remedy = f"sparsweep resume {sweeps[0]}" if sweeps else "sparsweep run SWEEP"
        raise UsageError(
            f"--storage {storage}: not marked as a storage (no {mark.NAME}). "
            f"Mark it first: {remedy}{storage_option(storage)}"
        )
    return store


def open_sweep(name: str, overrides: list[str], storage: str, as_it_was_run: bool) -> tuple[Sweep, Store]:
    """The sweep and its storage. ``as_it_was_run``: as its last run here had it, overrides included, if there was one.

    A sweep with an impossible trial is refused before anything is written.
    """
    from sparsweep.tuner.config.grid import SweepError
    from sparsweep.tuner.config.sweep import read_sweep
    from sparsweep.tuner.state import sweep_record

    store = open_store(storage)
    try:
        described = sweep_record.load_sweep(name, store, overrides) if as_it_was_run else None
        if described is None:
            described = read_sweep(name, overrides)
            refuse_namesake(described, store)
            if as_it_was_run:  # the path of a file that was run under the name that it gives
                described = sweep_record.load_sweep(described.name, store, overrides) or described
    except SweepError as error:
        raise UsageError(str(error)) from None
    return described, store


def open_recorded_sweep(name: str, overrides: list[str], storage: str) -> tuple[Sweep, Store]:
    """Return a sweep as its last run here had it, and its storage. Raises WrongCall if it never ran here."""
    described, store = open_sweep(name, overrides, storage, as_it_was_run=True)
    if described.name not in store.list_subfolders("sweeps"):
        start = f"sparsweep run {shlex.quote(name)}{storage_option(storage)}"
        raise UsageError(f"SWEEP {name}: has not been run in {storage}. Start it: {start}")
    return described, store


def open_readable_sweeps(names: Iterable[str], storage: str) -> tuple[list[Sweep], list[str]]:
    """Return those sweeps of a storage that can be read, and a line for each that cannot."""
    sweeps, problems = [], []
    for name in names:
        try:
            sweeps.append(open_sweep(name, [], storage, as_it_was_run=True)[0])
        except UsageError as error:
            problems.append(str(error))
    return sweeps, problems


def refuse_namesake(sweep: Sweep, store: Store) -> None:
    """Raise WrongCall if the sweep recorded under the name of ``sweep`` comes from another file and is another sweep.

    A file that was edited, moved or copied to another machine stays the same sweep: its source is the same, or its
    trials are some of the earlier ones or more than these.
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
        f"SWEEP {sweep.name}: another sweep of this name was run here (from {other}, got {sweep.source}). "
        f"Give one a name: --set name={sweep.name}-2, or name: in the file. The same name there goes on with the other."
    )


def open_sweeps(names: list[str], overrides: list[str], storage: str) -> tuple[list[Sweep], Store]:
    """Sweeps, each as its last run here had it, and their storage."""
    opened = [open_sweep(name, overrides, storage, as_it_was_run=True) for name in names]
    return [sweep for sweep, _ in opened], opened[0][1]


def resolve_id_prefix(beginning: str, known: Iterable[str], what: str, storage: str) -> str:
    """The one id among ``known`` that begins so; WrongCall, in terms of ``what`` they are, if there is not one."""
    matches = sorted(run for run in known if run.startswith(beginning))
    if len(matches) != 1:
        several = f"{len(matches)} {what}s begin so: {', '.join(matches[:5])}" if matches else f"no {what} begins so"
        raise UsageError(f"TRIAL {beginning!r}: {several} in {storage}")
    return matches[0]
