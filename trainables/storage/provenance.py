"""Which code made a result: version and digest of the source of every module that a run comes from, and the commit.

A digest is no part of a trial's id. The id says what was asked for: it is the same on all machines, under all
versions, and after a comment was changed. So results of other code are kept, and said wherever a sweep is looked at.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TypeAlias

OWN = "sparsweep"
"""The name under which the code of this package is recorded."""
OWN_MODULE = __name__.partition(".")[0]
"""The top-level name under which this package is imported."""

Code: TypeAlias = Mapping[str, frozenset[str]]
"""By module the codes, ``VERSION DIGEST``, that something was made by; several where it was resumed under another."""


def merge_code(*codes: Code) -> Code:
    """Return the code of what was made by all of ``codes``."""
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for code in codes:
        for module, sources in code.items():
            found[module] |= sources
    return dict(found)


def dump_code(code: Code) -> str:
    """Return ``code`` as the JSON of the column ``code``."""
    return json.dumps({module: sorted(sources) for module, sources in code.items()}, sort_keys=True)


def load_code(text: str | None) -> Code:
    """Return the code that a column says; nothing if it is not known or damaged."""
    try:
        return {str(module): frozenset(map(str, sources)) for module, sources in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def changed_modules(code: Code) -> list[str]:
    """Return the modules of ``code`` that are loaded here with another source. What is not loaded is not judged."""
    there = [module for module in code if module == OWN or module in sys.modules]
    return sorted(module for module in there if code[module] != {loaded_code(module)})


@cache
def loaded_code(module: str) -> str:
    """Return version and digest of a top-level module, ``0.1 3fa9...``, as they were when this was first asked.

    A package counts with all its Python files, a module with its one file: 16 hex digits of a SHA-256. What a module
    imports from elsewhere does not count. ``?`` stands for a version or a source that cannot be found.
    """
    return f"{_version_of(module)} {_digest_of(__package__ if module == OWN else module)}"


def _digest_of(module: str) -> str:
    loaded = sys.modules.get(module)
    folders = [Path(folder) for folder in getattr(loaded, "__path__", ())]
    single = getattr(loaded, "__file__", None)
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not folders and single is not None:
        files = [(Path(single).name, Path(single))]
    digest = hashlib.sha256()
    try:
        for name, path in files:
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    except OSError:  # a package in an archive
        return "?"
    return digest.hexdigest()[:16] if files else "?"


def _version_of(module: str) -> str:
    distributions = [OWN] if module == OWN else packages_distributions().get(module, [])
    try:
        return version(distributions[0])
    except (LookupError, PackageNotFoundError):
        return str(getattr(sys.modules.get(module), "__version__", "?"))


@cache
def commit() -> str | None:
    """The git commit of this code, with ``+`` if files have changed since; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def versions() -> str:
    """JSON: versions of everything that computed the result."""
    libraries = {name: version(name) for name in ("sparsweep", "torch", "numpy")}
    return json.dumps({"python": platform.python_version(), **libraries})
