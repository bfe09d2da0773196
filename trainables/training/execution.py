"""How training steps run on a device, and what a worker keeps from one training to the next.

Nothing here is part of a trial. A :class:`StepRunner` is a network with its optimiser at fixed places in memory, and
on a GPU its training step captured as CUDA graphs, one for each size of batch; a :class:`StepRunnerCache` hands the
machine of one training to the next if that has the same shapes. A captured step is a list of operations on fixed
tensors, so all that changes is written into them: batches, random numbers, masks, learning rate, and the weights of
the next training.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import Field

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models import Model, models
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.sparsifiers.masked_params import MaskedParams
from sparsweep.trainables.specs.base import FrozenModel
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.filesystem import expand_home

if TYPE_CHECKING:
    from sparsweep.trainables.pipeline.device_data import DeviceData

log = logging.getLogger(__name__)

Step: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]"
"""A training step on images, labels and random numbers; it gives [sum of losses, hits]."""

Replay: TypeAlias = "tuple[Callable[[], object], torch.Tensor]"
"""Runs a captured step on the tensors that it was captured with; where it leaves what the step gives."""

Capture: TypeAlias = "Callable[[Step, tuple[torch.Tensor, ...]], Replay]"

WARMUP_STEPS = 2
"""Steps of each size of batch that run as they are before one is captured: libraries set themselves up in them."""

MAX_GRAPHS = 2
"""Sizes of batch whose captured steps a machine keeps: the whole one, and that of an epoch's last batch."""

COMPILE_CACHE = "~/.cache/sparsweep/inductor"
COMPILE_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class ExecutionConfig(FrozenModel):
    """Levers of speed, each of which can be switched off. None is part of a trial.

    ``graphs`` changes no bit. ``channels_last`` and ``compile`` choose other kernels: the last bits differ, as they do
    between two cards or two versions of PyTorch, and a trial must be resumed under the same.
    """

    graphs: bool = Field(default=True, description="on a GPU a training step is replayed from a CUDA graph")
    channels_last: bool = Field(default=True, description="under bf16 on a GPU, the layout of its tensor cores")
    compile: bool = Field(default=False, description="torch.compile, with a cache on disk; minutes when it is cold")

    def layout(self, device: torch.device, precision: str) -> torch.memory_format:
        fast = self.channels_last and device.type == "cuda" and precision == "bf16"
        return torch.channels_last if fast else torch.contiguous_format


@dataclass(frozen=True)
class StepSignature:
    """All that a captured step depends on beside the values of its tensors."""

    model: Model
    classes: int
    image_shape: tuple[int, ...]
    batch_size: int
    loss_fn: TrainingLoss
    precision: str
    momentum: float
    nesterov: bool
    weight_decay: float
    device: torch.device

    @classmethod
    def of(cls, spec: TrialSpec, data: DeviceData) -> StepSignature:
        """What the training of ``spec`` must share with another to be run by the same machine."""
        recipe = spec.recipe
        return cls(
            models.cast(spec.model),
            data.classes,
            tuple(data.train_images.shape[1:]),
            recipe.batch_size,
            difficulties.cast(spec.difficulty).loss_fn,
            recipe.precision,
            recipe.momentum,
            recipe.nesterov,
            recipe.weight_decay,
            data.train_images.device,
        )


class StepRunner:
    """A network on its device with its optimiser, for one training after another of one ``kind``."""

    def __init__(self, kind: StepSignature, model: nn.Module, engine: ExecutionConfig) -> None:
        self.signature = kind
        self.model = model.to(kind.device).to(memory_format=engine.layout(kind.device, kind.precision))
        evaluate_in_float32(self.model)
        self.network = AutocastNetwork(self.model, kind.device, kind.precision)
        self.training_network = self.network
        if engine.compile:
            self.training_network = replace(self.network, forward=compiled(self.model, kind.batch_size))
        # A tensor, and momenta that are there from the first step on: a captured step finds both where they were.
        self.lr = torch.zeros((), device=kind.device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.lr,
            momentum=kind.momentum,
            nesterov=kind.nesterov,
            weight_decay=kind.weight_decay,
            fused=True,
        )
        if kind.momentum:
            for parameter in self.model.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.masked_params: MaskedParams | None = None
        self.capture_fn: Capture | None = cuda_capture if engine.graphs and kind.device.type == "cuda" else None
        self.capture_enabled = False
        self.clear_graphs()

    def clear_graphs(self) -> None:
        """Drop what was captured."""
        self.graphs: OrderedDict[int, tuple[tuple[torch.Tensor, ...], Replay]] = OrderedDict()
        self.warmup_counts: Counter[int] = Counter()

    def reset(self, state: dict[str, torch.Tensor]) -> None:
        """Begin again, from the network ``state`` and without momentum."""
        self.model.load_state_dict(state)
        self.model.zero_grad(set_to_none=True)
        for values in self.optimizer.state.values():
            values["momentum_buffer"].zero_()

    def attach_masks(self, topology: MaskedParams, watches: bool) -> None:
        """Train under ``topology`` from now on; steps captured under another of its class go on.

        ``watches``: whether the sparsifier looks at every step.
        """
        if self.masked_params is not None and type(topology) is type(self.masked_params):
            topology.reuse_buffers(self.masked_params)
        else:
            self.clear_graphs()
        self.masked_params = topology
        obstacle = self.capture_blocker(topology, watches)
        self.capture_enabled = self.capture_fn is not None and obstacle is None
        if self.capture_fn is not None and obstacle is not None:
            warn_once(f"training steps run without CUDA graphs: {obstacle}")

    def capture_blocker(self, topology: MaskedParams, watches: bool) -> str | None:
        """What keeps a step from being captured, in words; None if nothing does."""
        if watches:
            return "the sparsifier looks at every step"
        if not self.signature.loss_fn.supports_cuda_graphs:
            return f"{type(self.signature.loss_fn).__name__} does not say that its loss can be"
        if topology.graph_tensors is None:
            return f"{type(topology).__name__} does not say which tensors its steps read"
        return None

    def restore(self, saved: dict[str, Any]) -> None:
        """The momenta of an optimiser's ``state_dict``; all else in it is the recipe's."""
        for index, parameter in enumerate(self.model.parameters()):
            for name, value in saved["state"].get(index, {}).items():
                self.optimizer.state[parameter][name].copy_(value)

    def run_step(self, step: Step, *inputs: torch.Tensor) -> torch.Tensor:
        """``step`` on ``inputs`` (images, labels, random numbers), replayed once it has been captured.

        What it gives is overwritten by the next call.
        """
        if self.capture_fn is None or not self.capture_enabled:
            return step(*inputs)
        size = len(inputs[0])
        if size not in self.graphs:
            self.warmup_counts[size] += 1
            if self.warmup_counts[size] <= WARMUP_STEPS:
                return run_on_side_stream(step, inputs)
            places = tuple(value.clone() for value in inputs)
            if len(self.graphs) == MAX_GRAPHS:  # a step holds the memory of all that it computes
                self.graphs.popitem(last=False)
            try:
                self.graphs[size] = places, self.capture_fn(step, places)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                warn_once(f"training steps run without CUDA graphs: capturing one failed ({error})")
                self.capture_fn = None
                return step(*inputs)
        self.graphs.move_to_end(size)  # the one to be dropped first is the one used longest ago
        places, (replay, result) = self.graphs[size]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        replay()
        return result


class StepRunnerCache:
    """What a worker keeps: the machine of its last training."""

    def __init__(self, engine: ExecutionConfig | None = None) -> None:
        self.engine = engine or ExecutionConfig()
        self.runner: StepRunner | None = None

    def acquire(self, kind: StepSignature, model: nn.Module) -> StepRunner:
        """A machine of ``kind`` at the weights of ``model``: the last one, if it is of that kind."""
        if self.runner is not None and self.runner.signature == kind:
            self.runner.reset(model.state_dict())
        else:
            self.runner = None  # its memory is free before the next one takes some, here or in a trial beside
            torch.cuda.empty_cache()
            self.runner = StepRunner(kind, model, self.engine)
        return self.runner


def evaluate_in_float32(model: nn.Module) -> None:
    """Make the last layer of ``model`` compute in float32 where its logits are judged and not trained on.

    bfloat16 keeps 8 bits: of 10,000 test images some 56 had two equal highest logits, and the first class won. The last
    layer is the last convolution or linear layer. Without autocast nothing changes.
    """
    *_, last = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    last.register_forward_hook(_in_float32)


def _in_float32(layer: nn.Module, inputs: tuple[torch.Tensor, ...], logits: torch.Tensor) -> torch.Tensor | None:
    trains = layer.training and torch.is_grad_enabled()
    if trains or not torch.is_autocast_enabled(logits.device.type):
        return None
    with torch.autocast(logits.device.type, enabled=False):
        return layer.forward(inputs[0].float())


def run_on_side_stream(step: Step, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """``step`` as it is, on a stream of its own where there are streams: what is captured next must not wait for it."""
    device = inputs[0].device
    if device.type != "cuda":
        return step(*inputs)
    stream, main = side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(main)
    with torch.cuda.stream(stream):
        result = step(*inputs)
    main.wait_stream(stream)
    return result


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def cuda_capture(step: Step, places: tuple[torch.Tensor, ...]) -> Replay:
    """``step`` on ``places`` as a CUDA graph; capturing computes nothing."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side_stream(places[0].device)):
        result = step(*places)
    return graph.replay, result


def compiled(model: nn.Module, batch_size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """``model``, compiled for batches of that size; what was compiled once is found on disk by later processes.

    Others it takes as it is: an epoch has one, at most, and compiling for it would cost more than it ever saves.
    """
    use_persistent_inductor_cache()
    # PyTorch compiles a function eight times and then leaves it as it is: the machines before this one do not count.
    torch.compiler.reset()
    fast = torch.compile(model, dynamic=False)
    return lambda images: fast(images) if len(images) == batch_size else model(images)


def use_persistent_inductor_cache() -> None:
    """Let compiled code outlive the machine's temporary files, unless the user says where it is to be.

    PyTorch writes its own choice, a temporary folder, into the same variable as soon as its compiler is imported.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # seconds, for those alone who compile

    if os.environ.get(COMPILE_CACHE_VARIABLE, default_cache_dir()) == default_cache_dir():
        os.environ[COMPILE_CACHE_VARIABLE] = str(expand_home(COMPILE_CACHE))


@cache
def warn_once(message: str) -> None:
    log.warning(message)
