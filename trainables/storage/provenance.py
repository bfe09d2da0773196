"""Provenance of a result: version and source digest of every module that the run used, and the git commit.

A source digest is not part of a trial's id. The id depends only on the specification: it is the same on every node, for
every version, and after a change of a comment. Results of other code are therefore kept, and status commands list them.
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
"""Name of this package in the recorded code."""
OWN_MODULE = __name__.partition(".")[0]
"""Top-level name of this package in imports."""
OWN_SOURCES = "sparsweep.trainables"
"""Package whose files can change a result. Its digest is recorded as that of ``sparsweep``."""

Code: TypeAlias = Mapping[str, frozenset[str]]
"""Module -> its codes, each ``VERSION DIGEST``. A run that was resumed with other code has several codes."""


def merge_code(*codes: Code) -> Code:
    """Return the union of ``codes`` per module."""
    merged: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for code in codes:
        for module, sources in code.items():
            merged[module] |= sources
    return dict(merged)


def dump_code(code: Code) -> str:
    """Return ``code`` as JSON for the column ``code``."""
    return json.dumps({module: sorted(sources) for module, sources in code.items()}, sort_keys=True)


def load_code(text: str | None) -> Code:
    """Parse the column ``code``. Return an empty mapping if the column is null or damaged."""
    try:
        return {str(module): frozenset(map(str, sources)) for module, sources in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def changed_modules(code: Code) -> list[str]:
    """Return the modules of ``code`` that this process has loaded with another source. Ignore modules not loaded."""
    loaded = [module for module in code if module == OWN or module in sys.modules]
    return sorted(module for module in loaded if code[module] != {loaded_code(module)})


@cache
def loaded_code(module: str) -> str:
    """Return version and source digest of a top-level module, e.g. ``0.1 3fa9...``. The first call caches the result.

    For ``sparsweep``, the digest covers :data:`OWN_SOURCES`. It is 16 hex digits of a SHA-256 over all Python files of
    the package, or over the one file of the module. Imports from other packages do not count. ``?`` means an unknown
    version or source.
    """
    return f"{_version_of(module)} {_digest_of(OWN_SOURCES if module == OWN else module)}"


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
    """Return the git commit of this code, with ``+`` if tracked files have changed. None outside a checkout."""
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
    """Return the versions of Python and the libraries as JSON."""
    libraries = {name: version(name) for name in ("sparsweep", "torch", "numpy")}
    return json.dumps({"python": platform.python_version(), **libraries})
