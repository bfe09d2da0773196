"""A fake second device without hardware, named ``elsewhere``. Its tensors do not mix with those of the CPU.

A tensor on the fake device wraps a CPU tensor that does the arithmetic, so results equal the CPU's in all bits.
Operations that a GPU rejects raise an error: operations between the devices, random numbers from a generator of the
other device, NumPy arrays of its memory. Operations that synchronize with a GPU are counted; ``torch.tensor`` of a
list, which also synchronizes, raises an error. PyTorch keeps the device registered until the process exits. Therefore
tests use a separate process, which first calls :func:`appear`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sparsweep.trainables.data import ImageData, datasets
from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.runs import base as runs
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.testing import first_samples
from sparsweep.trainables.training.trainer import Trainer

NAME = "elsewhere"
CPU = torch.device("cpu")

WAITS = {
    "aten._local_scalar_dense",
    "aten._unique2",
    "aten.equal",
    "aten.is_nonzero",
    "aten.item",
    "aten.masked_select",
    "aten.nonzero",
    "aten.repeat_interleave",
    "aten.unique_dim",
}
"""Operations that synchronize the host with the device."""
MOVES = {"aten._to_copy", "aten.copy_", "aten._foreach_copy_"}
"""Allowed operations between two devices. They also synchronize."""
INDEXED = {"aten.index", "aten.index_put_", "aten._index_put_impl_"}
"""Operations on the fake device that accept CPU indices, at the cost of a copy. The reverse is an error."""

stops: Counter[str] = Counter()
"""Number of synchronizations by operation."""
seeds: set[int] = set()
"""Seeds of all generators on the fake device."""


class Mixed(RuntimeError):
    """Raised by operations whose tensors or random numbers belong to two devices. A GPU rejects them too."""


class Shell(torch.Tensor):
    """A tensor on the fake device. It wraps the CPU tensor ``inner``."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Shell:
        shell = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        shell.inner = inner
        return shell

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return operate(function, args, kwargs or {})

    def tolist(self) -> Any:
        stops["tolist"] += 1
        return self.inner.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the wrapped tensor, so that files contain ordinary tensors."""
        return self.inner.__reduce_ex__(protocol)


class Elsewhere(TorchDispatchMode):
    """Mode in which functions can create tensors on the fake device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return operate(function, args, kwargs or {})


class Generator(torch._C.Generator):
    """A generator of either device. PyTorch's C++ code hides the subclass, so :data:`seeds` identifies it."""

    def __new__(cls, device: torch.device | str = CPU) -> Generator:
        generator = super().__new__(cls)
        generator.place = torch.device(device)
        return generator

    @property
    def device(self) -> torch.device:
        return self.place

    def manual_seed(self, seed: int) -> torch._C.Generator:
        if self.place.type == NAME:
            seeds.add(seed)
        return super().manual_seed(seed)


def appear() -> None:
    """Register the fake device with PyTorch until this process exits."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return []

    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a process can use only one accelerator
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    torch.Generator = Generator  # type: ignore[misc]
    # A module that changes its device or dtype gets new parameters, because a wrapper cannot change its own.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.set_num_threads(1)


def operate(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call ``function`` with the wrapped tensors, and wrap its results that belong to the fake device."""
    name = str(function.overloadpacket)
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    refuse_mixed(name, args, tensors)
    there = result_is_there(kwargs, tensors)
    for leaf in leaves:
        if isinstance(leaf, torch._C.Generator) and (leaf.initial_seed() in seeds) != there:
            raise Mixed(f"{name}: the random numbers of another device")
    between = len({*map(is_there, tensors), there}) > 1
    if (name in WAITS and there) or (name in MOVES | INDEXED and between):
        stops[name] += 1
    shells: dict[int, torch.Tensor] = {id(tensor): tensor for tensor in tensors if not isinstance(tensor, Shell)}

    def opened(value: Any) -> Any:
        if isinstance(value, Shell):
            shells[id(value.inner)] = value
            return value.inner
        return CPU if isinstance(value, torch.device) else value

    def closed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in shells:
            return shells[id(value)]
        return Shell(value) if there else value

    return tree_map(closed, function(*tree_map(opened, args), **tree_map(opened, kwargs)))


def is_there(tensor: torch.Tensor) -> bool:
    """Return whether ``tensor`` is on the fake device."""
    return isinstance(tensor, Shell)


def refuse_mixed(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    """Raise :class:`Mixed` if the tensors belong to two devices. A CPU tensor without dimensions is allowed."""
    if not any(map(is_there, tensors)) or name in MOVES or (name in INDEXED and is_there(args[0])):
        return
    strangers = [tuple(tensor.shape) for tensor in tensors if tensor.dim() and not is_there(tensor)]
    if strangers:
        raise Mixed(f"{name}: tensors {strangers} are on the CPU, others elsewhere")


def result_is_there(kwargs: Mapping[str, Any], tensors: list[torch.Tensor]) -> bool:
    device = kwargs.get("device")
    return any(map(is_there, tensors)) if device is None else torch.device(device).type == NAME


# Functions that the tests call in the other process -------------------------------------------------------------------


def few_digits() -> ImageData:
    """Return 60 training and 20 test images of digits."""
    whole = datasets["digits"]().load()
    return ImageData(
        whole.train_images[:60], whole.train_labels[:60], whole.test_images[:20], whole.test_labels[:20], classes=10
    )


def complete(spec: RunSpec, root: Path, device: str) -> None:
    """Run ``spec`` and its prerequisites to their end in a storage at ``root``, with a resume after every epoch."""
    store = Store(str(root))
    placed = to_device_data(few_digits(), 1, 8, torch.device(device))
    for parent in spec.prerequisites():
        complete(parent, root, device)
    while not is_finished(spec, store):
        open_run(spec, runs.RunInputs(few_digits, lambda trial: placed), store, "test").run_for(0.0)


def complete_elsewhere(spec: RunSpec, root: Path) -> None:
    with Elsewhere():
        complete(spec, root, NAME)


def stops_of_an_epoch(spec: TrialSpec, samples: int) -> Counter[str]:
    """Return the synchronizations in the second epoch of ``spec``, on ``samples`` images on the fake device."""
    with Elsewhere():
        run = Trainer(spec, first_samples(samples, NAME), torch.arange(samples), lambda parent: {})
        run.train_epoch()
        stops.clear()
        run.train_epoch()
    return Counter(stops)


MIXING: dict[str, Callable[[torch.Tensor], object]] = {
    "sum": lambda there: there + torch.ones(3),
    "index": lambda there: torch.ones(3)[torch.zeros_like(there, dtype=torch.int64)],
    "random": lambda there: torch.rand(3, device=there.device, generator=torch.Generator().manual_seed(0)),
    "array": np.asarray,
}
"""Operations that a GPU rejects."""
WAITING: dict[str, Callable[[torch.Tensor], object]] = {
    "a number": lambda there: there.sum().item(),
    "a list": lambda there: there.tolist(),
    "places": lambda there: there.nonzero(),
    "to the CPU": lambda there: there.cpu(),
    "from the CPU": lambda there: torch.ones(3).to(there.device),
    "an index from the CPU": lambda there: there[torch.zeros(1, dtype=torch.int64)],
}
"""Operations that synchronize with a GPU."""


def stops_of(table: str, kind: str) -> int:
    """Return the number of synchronizations in one entry of a table, ``MIXING`` or ``WAITING``."""
    with Elsewhere():
        there = torch.ones(3, device=NAME)
        stops.clear()
        {"MIXING": MIXING, "WAITING": WAITING}[table][kind](there)
    return stops.total()
