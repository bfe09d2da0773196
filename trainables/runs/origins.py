"""Modules that a run depends on: the classes of its spec, of its scores and of its prerequisites."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import takewhile

from pydantic import BaseModel

from sparsweep.trainables.difficulties.scores.base import SCORES
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage.provenance import OWN, OWN_MODULE, Code, loaded_code


def code_of(spec: RunSpec) -> Code:
    """Return the imported code of the modules that ``spec`` and its prerequisites depend on."""
    return {module: frozenset({loaded_code(module)}) for module in sorted(modules_of(spec))}


def modules_of(spec: RunSpec) -> set[str]:
    """Return the top-level modules whose classes ``spec`` and its prerequisites use."""
    modules = {OWN, *_modules_in(spec)}
    return modules.union(*(modules_of(parent) for parent in spec.prerequisites()))


def _modules_in(value: object) -> Iterator[str]:
    """Yield the top-level modules of the classes of a value and of all nested values."""
    if isinstance(value, BaseModel):
        yield from _modules_of_class(type(value))
        for part in value.__dict__.values():
            yield from _modules_in(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _modules_in(part)
    if isinstance(value, ScoringSpec):
        yield from (_module_of_score(name) for name in value.scores if name in SCORES)


def _modules_of_class(cls: type) -> Iterator[str]:
    """Yield the modules of a class and of its bases, up to the first base of this package."""
    modules = (base.__module__.partition(".")[0] for base in cls.__mro__)
    return takewhile(lambda module: module not in {OWN_MODULE, "pydantic"}, modules)


def _module_of_score(name: str) -> str:
    make = SCORES[name]
    # A score of the final network is registered as a function: the argument of a class of this package.
    source = make.args[0] if isinstance(make, partial) else make
    module = source.__module__.partition(".")[0]
    return OWN if module == OWN_MODULE else module
