"""PyTorch, loaded when it is first used: it takes more than a second, and half a gigabyte where it comes with CUDA.

Who plans trials, watches them or reads what they left computes nothing with it. All that such a process imports takes
``torch`` and its parts from here. A method from elsewhere may import ``torch`` as usual, at that price.
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
    """Stands for the module of its name, which is imported when something of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)  # found here from now on, as fast as in the module itself
        return value


if TYPE_CHECKING:
    import torch as torch
    from torch import nn as nn
    from torch.nn import functional as functional
    from torch.nn import init as init
else:
    torch = Deferred("torch")
    nn = Deferred("torch.nn")
    functional = Deferred("torch.nn.functional")
    init = Deferred("torch.nn.init")


def no_grad(function: Callable[P, R]) -> Callable[P, R]:
    """``torch.no_grad()`` as a decorator that does not load PyTorch where the function is defined."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad():
            return function(*args, **kwargs)

    return call
