"""Deferred import of PyTorch and of SciPy's image filters.

Importing PyTorch takes more than a second, and half a gigabyte of memory with CUDA. Processes that plan or watch
trials, or read results, do not need these modules. All modules that these processes import get them from here. Plugins
may import ``torch`` directly, at this cost.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Deferred(ModuleType):
    """Placeholder for the module of its name. The first attribute access imports the module."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)  # cached: later accesses are as fast as in the module
        return value


if TYPE_CHECKING:
    import torch as torch
    from scipy import ndimage as ndimage
    from scipy import sparse as sparse
    from torch import nn as nn
    from torch.nn import functional as functional
    from torch.nn import init as init
else:
    torch = Deferred("torch")
    nn = Deferred("torch.nn")
    functional = Deferred("torch.nn.functional")
    init = Deferred("torch.nn.init")
    ndimage = Deferred("scipy.ndimage")
    sparse = Deferred("scipy.sparse")


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate ``function`` with ``torch.no_grad()`` without an import of PyTorch at definition time."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **kwargs)

    return call
