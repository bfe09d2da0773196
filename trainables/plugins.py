"""Plugins: modules that register sparsifiers, difficulties, networks or data sets when they are imported.

Packages announce their modules by the entry point group ``sparsweep.plugins``. Users name other modules on the path.
The driver imports all of them before it reads a sweep, and each worker imports them at its start.
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
    """A plugin cannot be imported. The message is one line with the module and the reason."""


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Import the modules that installed packages announce, then ``modules``, each once.

    The current folder is searched last: a file with the name of an installed package does not replace the package.

    Args:
        modules: Names of further modules.

    Raises:
        PluginError: A module cannot be imported.
    """
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        _import(entry_point.value)
    for module in modules:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        _import(module)
        _named[module] = None


def begin_worker(folder: str | None, modules: Iterable[str]) -> None:
    """Change to the driver's current folder, if it exists on this node, and import the driver's plugins.

    Relative paths and plugins of the folder then resolve as in the driver.

    Args:
        folder: Current folder of the driver.
        modules: Modules that the user named in the driver.

    Raises:
        PluginError: A module cannot be imported.
    """
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    load_plugins(modules)


def requested_modules() -> tuple[str, ...]:
    """Return the modules that the user named in this process: its workers must import them too."""
    return tuple(_named)


def _import(module: str) -> None:
    if module.endswith(".py") or "/" in module:
        name = module.rpartition("/")[2].removesuffix(".py")
        raise PluginError(f"{module}: is a file, not a module. Run in its folder with the module name {name}.")
    try:
        importlib.import_module(module)
        loaded_code(module.partition(".")[0])  # record the code before it can change
    except (Exception, SystemExit) as error:  # a script may call sys.exit on import
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise PluginError(f"{module}: cannot be imported: {reason}") from error
