"""A second device that needs no hardware: its tensors mix with none of the CPU's, as those of a GPU would not.

A tensor elsewhere is a shell around one on the CPU, which does the arithmetic, so results have the CPU's bits. What a
GPU would refuse is refused: operations between the two devices, numbers drawn by a generator of the other one, arrays
of NumPy on its memory. What it would have to wait for is counted; ``torch.tensor`` of a list, which waits too, fails.
PyTorch knows the device for the rest of a process, so all of this happens in a process of its own, which calls
:func:`appear` first.
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
"""Operations for which the host waits until the device is done."""
MOVES = {"aten._to_copy", "aten.copy_", "aten._foreach_copy_"}
"""Operations between two devices, for which it waits too, and which may be."""
INDEXED = {"aten.index", "aten.index_put_", "aten._index_put_impl_"}
"""Operations that take indices from the CPU, at the price of a move, but no indices from elsewhere to the CPU."""

stops: Counter[str] = Counter()
"""How many times the host had to wait for the device, by what it waited for."""
seeds: set[int] = set()
"""Of all generators elsewhere."""


class Mixed(RuntimeError):
    """An operation that no GPU does: its tensors or its random numbers belong to two devices."""


class Shell(torch.Tensor):
    """A tensor elsewhere. ``inner``: the one that it holds."""

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
        """In a file it is a tensor like any other."""
        return self.inner.__reduce_ex__(protocol)


class Elsewhere(TorchDispatchMode):
    """Inside, new tensors that are asked for elsewhere are made there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return operate(function, args, kwargs or {})


class Generator(torch._C.Generator):
    """A generator of either device; below Python it is known by its seed alone."""

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
    """Make the device known to PyTorch, for the rest of this process."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return []

    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # one accelerator a process
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    torch.Generator = Generator  # type: ignore[misc]
    # A module that is moved, or changes its type, gets new parameters: a shell cannot become another.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.set_num_threads(1)


def operate(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``function`` on the tensors inside their shells, and shells around what it makes elsewhere."""
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
    """Whether ``tensor`` is elsewhere."""
    return isinstance(tensor, Shell)


def refuse_mixed(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    """A single number of the CPU goes with tensors of any device."""
    if not any(map(is_there, tensors)) or name in MOVES or (name in INDEXED and is_there(args[0])):
        return
    strangers = [tuple(tensor.shape) for tensor in tensors if tensor.dim() and not is_there(tensor)]
    if strangers:
        raise Mixed(f"{name}: tensors {strangers} are on the CPU, others elsewhere")


def result_is_there(kwargs: Mapping[str, Any], tensors: list[torch.Tensor]) -> bool:
    device = kwargs.get("device")
    return any(map(is_there, tensors)) if device is None else torch.device(device).type == NAME


# What the tests run in the other process ------------------------------------------------------------------------------


def few_digits() -> ImageData:
    """60 training and 20 test images of digits."""
    whole = datasets["digits"]().load()
    return ImageData(
        whole.train_images[:60], whole.train_labels[:60], whole.test_images[:20], whole.test_labels[:20], classes=10
    )


def complete(spec: RunSpec, root: Path, device: str) -> None:
    """Run ``spec`` and what it needs to the end in a storage at ``root``, resumed after every epoch."""
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
    """How many times the host waits in the second epoch of ``spec``, on ``samples`` images elsewhere."""
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
"""What a GPU refuses."""
WAITING: dict[str, Callable[[torch.Tensor], object]] = {
    "a number": lambda there: there.sum().item(),
    "a list": lambda there: there.tolist(),
    "places": lambda there: there.nonzero(),
    "to the CPU": lambda there: there.cpu(),
    "from the CPU": lambda there: torch.ones(3).to(there.device),
    "an index from the CPU": lambda there: there[torch.zeros(1, dtype=torch.int64)],
}
"""What makes the host wait for a GPU."""


def stops_of(table: str, kind: str) -> int:
    """How many waits are counted while an entry of a table, MIXING or WAITING, is done."""
    with Elsewhere():
        there = torch.ones(3, device=NAME)
        stops.clear()
        {"MIXING": MIXING, "WAITING": WAITING}[table][kind](there)
    return stops.total()
