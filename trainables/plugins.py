"""Methods of others: modules that register sparsifiers, difficulties, networks or data sets when they are imported.

Packages announce theirs by the entry point group ``sparsweep.plugins``, whose values are modules; a module on the
path is named by the user. The driver imports them before it reads a sweep, and tells every worker to do so too.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable

from sparsweep.trainables.storage.provenance import loaded_code

GROUP = "sparsweep.plugins"

_named: dict[str, None] = {}


class PluginError(Exception):
    """A plugin cannot be imported: one line that names it and says why."""


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Import what installed packages announce, then ``modules``; each once, however often it is named.

    Named ones are also looked for in the current folder, after everything that is installed: a file there that is
    called like a package replaces nothing.
    """
    for announced in importlib.metadata.entry_points(group=GROUP):
        _import(announced.value)
    for module in modules:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        _import(module)
        _named[module] = None


def begin_worker(folder: str | None, modules: Iterable[str]) -> None:
    """Go to the driver's current folder, where it is there, and import what the driver was told to import.

    Relative paths and plugins of that folder are then found as the driver finds them.
    """
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    load_plugins(modules)


def requested_modules() -> tuple[str, ...]:
    """The modules that were named in this process: what its workers must import besides what is announced to them."""
    return tuple(_named)


def _import(module: str) -> None:
    if module.endswith(".py") or "/" in module:
        name = module.rpartition("/")[2].removesuffix(".py")
        raise PluginError(f"{module}: is a file. Give the name of the module, {name}, from its folder.")
    try:
        importlib.import_module(module)
        loaded_code(module.partition(".")[0])  # before anybody edits it
    except (Exception, SystemExit) as error:  # a script that was not meant to be imported ends
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise PluginError(f"{module}: cannot be imported: {why}") from error
